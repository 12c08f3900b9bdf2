package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// ---- handoff_parked_sysmon, handoff_warm_sysmon

func handoffLater(name string, pauseNS float64, fullCount, quickCount int) func(settings) []figure {
	return func(s settings) []figure {
		runtime.GOMAXPROCS(1)
		count := fullCount
		var pipe [2]int
		check("pipe", syscall.Pipe(pipe[:]))
		if s.quick {
			count = quickCount
		}
		for i := 0; i < 100; i++ { // warm-up
			handoffRound(&pipe)
		}
		var times []float64
		for len(times) < count {
			spinFor(pauseNS)
			if idle := handoffRound(&pipe); idle >= 0 {
				times = append(times, idle)
			}
		}
		return []figure{{name, 1, median(times), "ns", spreadOf(times)}}
	}
}

// ---- handoff_cold_sysmon: Go gives no thread back, and can't start anew; so each sample is a process.

// useUpIdleThreads locks goroutines to threads until one of them finds no idle thread that could run the others, so that
// one is created; then there is none left.
func useUpIdleThreads() {
	for before := threadsNow(); threadsNow() <= before; {
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			select {}
		}()
		<-locked
		runtime.Gosched() // lets it come to its wait
	}
}

// coldSample prints a round's figure, or that it was not cold.
func coldSample() {
	var pipe [2]int
	check("pipe", syscall.Pipe(pipe[:]))
	useUpIdleThreads()
	before := threadsNow()
	idle := handoffRound(&pipe)
	if idle < 0 || threadsNow() <= before {
		fmt.Println("not cold")
		return
	}
	fmt.Println(idle)
}

func handoffCold(s settings) []figure {
	self, err := os.Executable()
	check("handoff_cold_sysmon", err)
	count := 100
	if s.quick {
		count = 25
	}
	var times []float64
	for tried := 0; len(times) < count; tried++ {
		if tried >= 4*count {
			check("handoff_cold_sysmon", fmt.Errorf("only %d of %d rounds had to create a thread", len(times), tried))
		}
		child := exec.Command(self, "-sample")
		child.Env = append(os.Environ(), "GOMAXPROCS=1")
		child.Stderr = os.Stderr
		said, err := child.Output()
		check("handoff_cold_sysmon", err)
		if answer := strings.TrimSpace(string(said)); answer != "not cold" {
			var idle float64
			_, err := fmt.Sscan(answer, &idle)
			check("handoff_cold_sysmon: "+answer, err)
			times = append(times, idle)
		}
	}
	return []figure{{"handoff_cold_sysmon", 1, median(times), "ns", spreadOf(times)}}
}
