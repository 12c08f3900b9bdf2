package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// scaleShape is that of workloads/scale.hpp: a sample is several rounds if n is small.
type scaleShape struct{ n, rounds, samples int }

func (s settings) scale() scaleShape {
	n := 1000
	if s.goroutines > 0 {
		n = s.goroutines
	}
	inSample, most := 10_000, 500_000
	if s.quick {
		inSample, most = 2_500, 100_000
	}
	return scaleShape{n, max(1, inSample/n), max(1, min(most/n, s.samples()))}
}

func (shape scaleShape) measure(work string, lessNS float64, round func()) figure {
	runtime.GOMAXPROCS(2)
	var values []float64
	for i := 0; i < shape.samples; i++ {
		start := nowNS()
		for j := 0; j < shape.rounds; j++ {
			round()
		}
		eachRound := (nowNS() - start) / float64(shape.rounds)
		values = append(values, (eachRound-lessNS)/float64(shape.n))
	}
	return figure{work, 2, median(values), "ns", append(spreadOf(values), key{"goroutines", float64(shape.n)})}
}

// ---- scale_parked

func parkedRound(n int, atHeight func()) {
	var aboutToPark atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			aboutToPark.Add(1)
			<-gate
			all.Done()
		}()
	}
	for aboutToPark.Load() < int64(n) {
		runtime.Gosched()
	}
	atHeight()
	close(gate)
	all.Wait()
}

func scaleParked(s settings) []figure {
	runtime.GOMAXPROCS(2)
	shape := s.scale()
	parkedRound(1, func() {})
	before, _ := memoryNow()
	height := before
	parkedRound(shape.n, func() {
		time.Sleep(10 * time.Millisecond) // for those between the count and the park
		height, _ = memoryNow()
	})
	f := shape.measure("scale_parked", 0, func() { parkedRound(shape.n, func() {}) })
	f.extra = append(f.extra, key{"bytes", (height - before) / float64(shape.n)})
	return []figure{f}
}

// ---- scale_ready

func scaleReady(s settings) []figure {
	runtime.GOMAXPROCS(2)
	shape := s.scale()
	round := func() {
		var all sync.WaitGroup
		all.Add(shape.n)
		for i := 0; i < shape.n; i++ {
			go func() {
				for k := 0; k < 3; k++ {
					runtime.Gosched()
				}
				all.Done()
			}()
		}
		all.Wait()
	}
	round() // warm-up
	return []figure{shape.measure("scale_ready", 0, round)}
}

// ---- scale_sleeping

func scaleSleeping(s settings) []figure {
	runtime.GOMAXPROCS(2)
	shape := s.scale()
	shape.rounds = min(shape.rounds, 10)
	length := 100 * time.Millisecond
	if shape.n <= 1000 {
		length = time.Millisecond
	} else if shape.n <= 100_000 {
		length = 10 * time.Millisecond
	}
	round := func() {
		var all sync.WaitGroup
		all.Add(shape.n)
		for i := 0; i < shape.n; i++ {
			go func() {
				time.Sleep(length)
				all.Done()
			}()
		}
		all.Wait()
	}
	round() // warm-up
	return []figure{shape.measure("scale_sleeping", float64(length), round)}
}
