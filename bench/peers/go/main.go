// The workloads of handoff_bench in Go, of the same shape and size: see workloads/figures.hpp for the rules, and the
// .cpp file of each workload there for what is timed.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type settings struct {
	quick      bool
	goroutines int
	client     string // the path of handoff_bench, which is the client of echo_*
}

type key struct {
	name  string
	value float64
}

type figure struct {
	work  string
	procs int
	value float64
	unit  string
	extra []key
}

func (f figure) print() {
	fmt.Printf(`{"work": "%s", "subject": "go", "procs": %d, "value": %.4g, "unit": "%s"`, f.work, f.procs, f.value, f.unit)
	for _, k := range f.extra {
		fmt.Printf(`, "%s": %.6g`, k.name, k.value)
	}
	fmt.Printf(`, "version": "%s"}`+"\n", runtime.Version())
}

var base = time.Now()

// nowNS is the monotonic clock, in nanoseconds.
func nowNS() float64 { return float64(time.Since(base)) }

func quantile(values []float64, q float64) float64 {
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func spreadOf(values []float64) []key {
	return []key{{"min", quantile(values, 0)}, {"max", quantile(values, 1)}, {"p99", quantile(values, 0.99)},
		{"samples", float64(len(values))}}
}

func (s settings) samples() int {
	if s.quick {
		return 7
	}
	return 15
}

// perOperation times run(operations) several times over; run(n) does n operations. Nanoseconds an operation, a value a
// sample.
func perOperation(s settings, operations int, run func(int)) []float64 {
	if s.quick {
		operations /= 4
	}
	run(operations) // warm-up
	var samples []float64
	for i := 0; i < s.samples(); i++ {
		start := nowNS()
		run(operations)
		samples = append(samples, (nowNS()-start)/float64(operations))
	}
	return samples
}

// perRound times run() several times over, in milliseconds.
func perRound(s settings, run func()) []float64 {
	rounds := 5
	if s.quick {
		rounds = 3
	}
	run() // warm-up
	var samples []float64
	for i := 0; i < rounds; i++ {
		start := nowNS()
		run()
		samples = append(samples, (nowNS()-start)*1e-6)
	}
	return samples
}

// operationsOn and roundsOn are workloads whose value is one of perOperation and of perRound.
func operationsOn(procs int, name string, operations int, run func(int)) func(settings) []figure {
	return func(s settings) []figure {
		runtime.GOMAXPROCS(procs)
		samples := perOperation(s, operations, run)
		return []figure{{name, procs, median(samples), "ns", spreadOf(samples)}}
	}
}

func roundsOn(procs int, name string, run func()) func(settings) []figure {
	return func(s settings) []figure {
		runtime.GOMAXPROCS(procs)
		samples := perRound(s, run)
		return []figure{{name, procs, median(samples), "ms", spreadOf(samples)}}
	}
}

// pauseLengths is the pseudo-random sequence of 0 to 100 µs of figures.hpp.
type pauseLengths uint32

func (p *pauseLengths) nextNS() float64 {
	*p = *p*1664525 + 1013904223
	return float64(*p>>16) * (100_000.0 / 65536.0)
}

func spinFor(ns float64) {
	for until := nowNS() + ns; nowNS() < until; {
	}
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "handoff_bench_go: %s: %v\n", what, err)
		os.Exit(1)
	}
}

// ---- brackets: syscall.Syscall enters and leaves the scheduler's system call state, RawSyscall does not.

func bracketedCalls(n int) {
	for i := 0; i < n; i++ {
		syscall.Syscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
}

func rawCalls(n int) {
	for i := 0; i < n; i++ {
		syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0)
	}
}

// aroundGetppid is what Syscall takes longer than RawSyscall, and what the latter takes; in turns, a value a sample.
func aroundGetppid(s settings) (differences, raw []float64) {
	n := 40_000 // a sample; there are five times as many samples as elsewhere
	if s.quick {
		n /= 4
	}
	for i := 0; i <= 5*s.samples(); i++ {
		t0 := nowNS()
		bracketedCalls(n)
		t1 := nowNS()
		rawCalls(n)
		t2 := nowNS()
		if i == 0 {
			continue // warm-up
		}
		differences = append(differences, ((t1-t0)-(t2-t1))/float64(n))
		raw = append(raw, (t2-t1)/float64(n))
	}
	return
}

func brackets(s settings) []figure {
	runtime.GOMAXPROCS(1)
	differences, raw := aroundGetppid(s)
	bare := perOperation(s, 4_000_000, barePairs)
	return []figure{{"brackets", 1, median(differences), "ns",
		[]key{{"bare", median(bare)}, {"raw_getppid", median(raw)}, {"samples", float64(len(raw))}}}}
}

// ---- yield

func yieldPair(n int) {
	var both sync.WaitGroup
	half := func() {
		for i := 0; i < n/2; i++ {
			runtime.Gosched()
		}
		both.Done()
	}
	both.Add(2)
	go half()
	go half()
	both.Wait()
}

// ---- spawn

const spawnBatch = 128

func spawnBatches(n int) {
	var done atomic.Int64
	count := func() { done.Add(1) }
	for started := 0; started < n; {
		for i := 0; i < spawnBatch; i++ {
			go count()
		}
		started += spawnBatch
		for done.Load() < int64(started) {
			runtime.Gosched()
		}
	}
}

// ---- handoff_sysmon: Go's only way. Its syscall.Read tells the scheduler, and sysmon takes the P.

// handoffRound returns how long the P was idle; below 0: the other goroutine came first.
func handoffRound(pipe *[2]int) float64 {
	var firstStep float64
	var written int
	done := make(chan struct{})
	go func() {
		firstStep = nowNS()
		written, _ = syscall.Write(pipe[1], []byte{0})
		close(done)
	}()
	var byte [1]byte
	beforeCall := nowNS()
	got, err := syscall.Read(pipe[0], byte[:])
	<-done
	if got != 1 || written != 1 {
		check("handoff_sysmon", fmt.Errorf("the pipe moved no byte: %v", err))
	}
	return firstStep - beforeCall
}

func handoffSysmon(s settings) []figure {
	runtime.GOMAXPROCS(1)
	var pipe [2]int
	check("pipe", syscall.Pipe(pipe[:]))
	warmUp, count := 100, 2000
	if s.quick {
		count = 500
	}
	pauses := pauseLengths(12345)
	for i := 0; i < warmUp; i++ {
		handoffRound(&pipe)
	}
	var spaced, backToBack []float64
	for len(spaced) < count {
		spinFor(pauses.nextNS())
		if idle := handoffRound(&pipe); idle >= 0 {
			spaced = append(spaced, idle)
		}
	}
	for len(backToBack) < count/2 {
		if idle := handoffRound(&pipe); idle >= 0 {
			backToBack = append(backToBack, idle)
		}
	}
	return []figure{{"handoff_sysmon", 1, median(spaced), "ns",
		append(spreadOf(spaced), key{"back_to_back", median(backToBack)})}}
}

// ---- parked_memory: the goroutines wait on a channel. What free memory Go holds is given back before each reading.

func memoryNow() (resident, pageTables float64) {
	debug.FreeOSMemory()
	return statusNumber("VmRSS") * 1024, statusNumber("VmPTE") * 1024
}

func parkedMemory(s settings) []figure {
	runtime.GOMAXPROCS(2)
	n := 1_000_000
	if s.quick {
		n = 200_000
	}
	if s.goroutines > 0 {
		n = s.goroutines
	}
	var aboutToPark atomic.Int64
	var all sync.WaitGroup
	gate := make(chan struct{})
	all.Add(1)
	go all.Done() // warm-up
	all.Wait()

	residentBefore, tablesBefore := memoryNow()
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			aboutToPark.Add(1)
			<-gate
			all.Done()
		}()
		if i%128 == 127 {
			runtime.Gosched()
		}
	}
	for aboutToPark.Load() < int64(n) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond) // for those between the count and the park
	resident, tables := memoryNow()
	close(gate)
	all.Wait()

	each := float64(n)
	return []figure{
		{"parked_memory", 2, (resident - residentBefore) / each, "B", []key{{"goroutines", each}}},
		{"parked_page_tables", 2, (tables - tablesBefore) / each, "B", []key{{"goroutines", each}}},
	}
}

func main() {
	workloads := map[string]func(settings) []figure{
		"brackets":           brackets,
		"yield":              operationsOn(1, "yield", 1_000_000, yieldPair),
		"spawn":              operationsOn(1, "spawn", spawnBatch*4096, spawnBatches),
		"chan_unbuffered":    operationsOn(1, "chan_unbuffered", 250_000, roundTrips),
		"chan_buffered":      operationsOn(1, "chan_buffered", 1_000_000, produceAndConsume),
		"chan_buffered_2p":   operationsOn(2, "chan_buffered_2p", 1_000_000, produceAndConsume),
		"select2":            operationsOn(1, "select2", 400_000, selectItems),
		"mutex_uncontended":  operationsOn(1, "mutex_uncontended", 4_000_000, lockPairs),
		"mutex_contended":    operationsOn(2, "mutex_contended", 2_000_000, contend),
		"rwmutex_read":       operationsOn(1, "rwmutex_read", 4_000_000, readLockPairs),
		"wait_group":         operationsOn(1, "wait_group", 400_000, waitForBatches),
		"skynet":             roundsOn(2, "skynet", skynetOnce),
		"sleep_100k":         roundsOn(2, "sleep_100k", sleepAll),
		"handoff_sysmon":     handoffSysmon,
		"parked_memory":      parkedMemory,
		"parked_page_tables": parkedMemory,

		"handoff_cold_sysmon":   handoffCold,
		"handoff_parked_sysmon": handoffLater("handoff_parked_sysmon", 2e6, 500, 100),
		"handoff_warm_sysmon":   handoffLater("handoff_warm_sysmon", 0, 2000, 500),

		"blocking_storm":      storm1000x1ms.measure,
		"blocking_storm_warm": storm1000x1ms.measure,
		"blocking_storm_busy": stormBusy,
		"storm_10000x100us":   stormShape{"storm_10000x100us", 10_000, 100_000}.measure,
		"storm_100x50ms":      stormShape{"storm_100x50ms", 100, 50_000_000}.measure,

		// The same as blocking_storm: each syscall.Nanosleep tells the scheduler, there is no guard to leave out.
		"unguarded_storm": stormShape{"unguarded_storm", 1000, 1_000_000}.measure,

		"compute_beside_blocking": computeBesideBlocking,
		"page_faults":             pageFaults,
		"call_not_blocking":       callNotBlocking,
		"recovery":                recovery,
		"file_reads":              fileReads,
		"getaddrinfo":             getaddrinfo,

		"echo_blocking_50":  echoShape{"echo_blocking_50", 50, false, 2}.blocking,
		"echo_blocking_500": echoShape{"echo_blocking_500", 500, false, 2}.blocking,
		"echo_net_50":       echoShape{"echo_net_50", 50, false, 2}.net,
		"echo_net_500":      echoShape{"echo_net_500", 500, false, 2}.net,
		"echo_1":            echoClosed("echo_1", 1),
		"echo_64":           echoClosed("echo_64", 64),
		"echo_1000":         echoClosed("echo_1000", 1000),

		"fib":     fibWork,
		"nqueens": queensWork,

		"scale_parked":   scaleParked,
		"scale_ready":    scaleReady,
		"scale_sleeping": scaleSleeping,
	}
	var s settings
	name := flag.String("work", "", "the workload to measure")
	flag.BoolVar(&s.quick, "quick", false, "fewer operations")
	flag.IntVar(&s.goroutines, "goroutines", 0, "how many in parked_memory and scale_*")
	flag.StringVar(&s.client, "client", "", "the path of handoff_bench, for echo_*")
	sample := flag.Bool("sample", false, "be one sample of handoff_cold_sysmon")
	flag.Parse()
	if *sample {
		coldSample()
		return
	}
	measure, known := workloads[*name]
	if !known {
		fmt.Fprintf(os.Stderr, "handoff_bench_go: no workload '%s'\n", *name)
		os.Exit(2)
	}
	for _, f := range measure(s) {
		f.print()
	}
}
