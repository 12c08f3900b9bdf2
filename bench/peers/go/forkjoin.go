package main

import (
	"fmt"
	"math/bits"
)

// ---- fib

func fib(n int) int {
	if n < 2 {
		return n
	}
	first := make(chan int, 1)
	go func() { first <- fib(n - 1) }()
	second := fib(n - 2)
	return <-first + second
}

func fibWork(s settings) []figure {
	n, expected := 24, 46368
	if s.quick {
		n, expected = 20, 6765
	}
	return roundsOn(2, "fib", func() {
		if result := fib(n); result != expected {
			check("fib", fmt.Errorf("fib(%d) is not %d", n, result))
		}
	})(s)
}

// ---- nqueens

const forkedRows = 4 // the placements of so many first rows are goroutines

// A board of n columns with queens in its first rows; a bit for each column.
type board struct {
	n, row                   int
	columns, falling, rising uint32
}

func (b board) free() uint32 { return ^(b.columns | b.falling | b.rising) & (1<<b.n - 1) }

func (b board) withQueen(column uint32) board {
	return board{b.n, b.row + 1, b.columns | column, (b.falling | column) >> 1, (b.rising | column) << 1}
}

func (b board) solutions() int {
	if b.row == b.n {
		return 1
	}
	count := 0
	for open := b.free(); open != 0; open &= open - 1 {
		count += b.withQueen(open & -open).solutions()
	}
	return count
}

func queens(b board) int {
	if b.row == forkedRows {
		return b.solutions()
	}
	open := b.free()
	placements := bits.OnesCount32(open)
	counts := make(chan int, placements)
	for ; open != 0; open &= open - 1 {
		next := b.withQueen(open & -open)
		go func() { counts <- queens(next) }()
	}
	count := 0
	for i := 0; i < placements; i++ {
		count += <-counts
	}
	return count
}

func queensWork(s settings) []figure {
	n, expected := 10, 724
	if s.quick {
		n, expected = 8, 92
	}
	return roundsOn(2, "nqueens", func() {
		if count := queens(board{n: n}); count != expected {
			check("nqueens", fmt.Errorf("%d ways to place %d queens", count, n))
		}
	})(s)
}
