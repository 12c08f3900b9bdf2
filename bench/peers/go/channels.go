package main

import "fmt"

const channelCapacity = 128

func checkSum(work string, sum, n int) {
	if sum != n*(n-1)/2 {
		check(work, fmt.Errorf("the items add up to %d", sum))
	}
}

// ---- chan_unbuffered

func roundTrips(n int) {
	there, back := make(chan int), make(chan int)
	go func() {
		for v := range there {
			back <- v
		}
	}()
	sum := 0
	for i := 0; i < n; i++ {
		there <- i
		sum += <-back
	}
	close(there)
	checkSum("chan_unbuffered", sum, n)
}

// ---- chan_buffered, chan_buffered_2p

func produceAndConsume(n int) {
	items := make(chan int, channelCapacity)
	go func() {
		for i := 0; i < n; i++ {
			items <- i
		}
		close(items)
	}()
	sum := 0
	for v := range items {
		sum += v
	}
	checkSum("chan_buffered", sum, n)
}

// ---- select2

func selectItems(n int) {
	a, b := make(chan int, channelCapacity), make(chan int, channelCapacity)
	go func() {
		for i := 0; i < n; i += 2 {
			a <- i
			b <- i + 1
		}
	}()
	sum := 0
	for i := 0; i < n; i++ {
		select {
		case v := <-a:
			sum += v
		case v := <-b:
			sum += v
		}
	}
	checkSum("select2", sum, n)
}

// ---- skynet: a goroutine with one leaf answers with its number, one with more with the sum of its ten children.

func skynetNode(to chan int, number, leaves int) {
	if leaves == 1 {
		to <- number
		return
	}
	from := make(chan int, 10)
	for i := 0; i < 10; i++ {
		go skynetNode(from, number+i*(leaves/10), leaves/10)
	}
	sum := 0
	for i := 0; i < 10; i++ {
		sum += <-from
	}
	to <- sum
}

func skynetOnce() {
	const leaves = 1_000_000
	result := make(chan int, 1)
	go skynetNode(result, 0, leaves)
	checkSum("skynet", <-result, leaves)
}
