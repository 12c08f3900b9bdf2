package main

import (
	"fmt"
	"sync"
	"time"
)

// ---- mutex_uncontended, rwmutex_read

func lockPairs(n int) {
	var m sync.Mutex
	for i := 0; i < n; i++ {
		m.Lock()
		m.Unlock()
	}
}

func readLockPairs(n int) {
	var m sync.RWMutex
	for i := 0; i < n; i++ {
		m.RLock()
		m.RUnlock()
	}
}

// ---- mutex_contended

type guarded struct {
	mutex sync.Mutex
	pairs int
	state uint32
}

func (g *guarded) step() {
	g.mutex.Lock()
	g.pairs++
	for i := 0; i < 2; i++ {
		g.state ^= g.state << 13
		g.state ^= g.state >> 17
		g.state ^= g.state << 5
	}
	g.mutex.Unlock()
}

func contend(n int) {
	const contenders = 8
	shared := guarded{state: 1}
	var all sync.WaitGroup
	all.Add(contenders)
	for i := 0; i < contenders; i++ {
		go func() {
			for j := 0; j < n/contenders; j++ {
				shared.step()
			}
			all.Done()
		}()
	}
	all.Wait()
	if shared.pairs != n {
		check("mutex_contended", fmt.Errorf("%d pairs of %d were counted", shared.pairs, n))
	}
}

// ---- wait_group

func waitForBatches(n int) {
	const batch = 1000
	var all sync.WaitGroup
	done := func() { all.Done() }
	for started := 0; started < n; started += batch {
		for i := 0; i < batch; i++ {
			all.Add(1)
			go done()
		}
		all.Wait()
	}
}

// ---- sleep_100k

func sleepAll() {
	const sleepers = 100_000
	var all sync.WaitGroup
	all.Add(sleepers)
	for i := 0; i < sleepers; i++ {
		go func() {
			time.Sleep(time.Millisecond)
			all.Done()
		}()
	}
	all.Wait()
}
