package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func blockFor(ns int64) {
	t := syscall.NsecToTimespec(ns)
	syscall.Nanosleep(&t, nil)
}

// ---- blocking_storm, storm_*

type stormShape struct {
	work   string
	tasks  int
	eachNS int64
}

var storm1000x1ms = stormShape{"blocking_storm", 1000, 1_000_000}

func (shape stormShape) run() {
	var all sync.WaitGroup
	all.Add(shape.tasks)
	for i := 0; i < shape.tasks; i++ {
		go func() {
			blockFor(shape.eachNS)
			all.Done()
		}()
	}
	all.Wait()
}

func (shape stormShape) runMS() float64 {
	start := nowNS()
	shape.run()
	return (nowNS() - start) * 1e-6
}

func (shape stormShape) measure(settings) []figure {
	runtime.GOMAXPROCS(2)
	first := shape.runMS()
	second := shape.runMS()
	threads := key{"threads", threadsNow()}
	figures := []figure{{shape.work, 2, first, "ms", []key{threads, {"warm", second}}}}
	if shape == storm1000x1ms {
		figures = append(figures, figure{"blocking_storm_warm", 2, second, "ms", []key{threads}})
	}
	return figures
}

func stormBusy(settings) []figure {
	runtime.GOMAXPROCS(2)
	spinFor(100e6)
	return []figure{{"blocking_storm_busy", 2, storm1000x1ms.runMS(), "ms", nil}}
}

// ---- compute_beside_blocking

// computeSlice is some 20 µs of computing.
func computeSlice(state uint32) uint32 {
	for i := 0; i < 10_000; i++ {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
	}
	return state
}

// computeFor returns how many slices two goroutines computed in that time.
func computeFor(ns float64) float64 {
	until := nowNS() + ns
	slices := make(chan int)
	for seed := uint32(1); seed <= 2; seed++ {
		go func(state uint32) {
			n := 0
			for ; nowNS() < until; n++ {
				state = computeSlice(state)
				runtime.Gosched()
			}
			if state == 0 { // it can't be, but must be computed
				check("compute_beside_blocking", fmt.Errorf("xorshift has come to 0"))
			}
			slices <- n
		}(seed)
	}
	return float64(<-slices + <-slices)
}

func computeBesideBlocking(s settings) []figure {
	runtime.GOMAXPROCS(2)
	forNS := 300e6
	if s.quick {
		forNS = 100e6
	}
	alone := computeFor(forNS)
	var stop atomic.Bool
	var calls atomic.Int64
	var blockers sync.WaitGroup
	for i := 0; i < 64; i++ {
		blockers.Add(1)
		go func() {
			for !stop.Load() {
				blockFor(1_000_000)
				calls.Add(1)
			}
			blockers.Done()
		}()
	}
	beside := computeFor(forNS)
	completed := float64(calls.Load())
	stop.Store(true)
	blockers.Wait()
	return []figure{{"compute_beside_blocking", 2, 100 * beside / alone, "%",
		[]key{{"blocking_calls", completed}, {"threads", threadsNow()}}}}
}

// ---- call_not_blocking

func callNotBlocking(s settings) []figure {
	runtime.GOMAXPROCS(2)
	differences, _ := aroundGetppid(s)
	return []figure{{"call_not_blocking", 2, median(differences), "ns", nil}}
}

// ---- recovery: Go gives no thread back; the wait is for its memory.

func recovery(s settings) []figure {
	const procs = 2
	runtime.GOMAXPROCS(procs)
	capMS := 15_000.0
	if s.quick {
		capMS = 3_000
	}
	threadsBefore, rssBefore := threadsNow(), residentMiB()
	storm1000x1ms.run()
	start := nowNS()
	threadsPeak, rssPeak := threadsNow(), residentMiB()
	enough := max(threadsBefore, procs+3)
	threads, tookMS := threadsPeak, 0.0
	for threads > enough && tookMS < capMS {
		time.Sleep(5 * time.Millisecond)
		tookMS = (nowNS() - start) * 1e-6
		threads = threadsNow()
	}
	capped := 0.0
	if threads > enough {
		tookMS, capped = capMS, 1
	}
	return []figure{{"recovery", procs, tookMS, "ms", []key{{"capped", capped}, {"threads_before", threadsBefore},
		{"threads_peak", threadsPeak}, {"threads_after", threads}, {"rss_before_mib", rssBefore},
		{"rss_peak_mib", rssPeak}, {"rss_after_mib", residentMiB()}}}}
}

// ---- file_reads: the file has no name, so it goes with the process, however that ends.

const (
	blockSize       = 4096
	fadviseDontneed = 4
)

// drop does not wait, so the scheduler need not hear of it.
func drop(file *os.File, offset, length int64) {
	syscall.RawSyscall6(syscall.SYS_FADVISE64, file.Fd(), uintptr(offset), uintptr(length), fadviseDontneed, 0, 0)
}

// uncachedFile is none of it in the page cache. Each block starts with its number.
func uncachedFile(size int64) *os.File {
	file, err := os.CreateTemp("", "handoff_bench_")
	check("file_reads", err)
	check("file_reads", os.Remove(file.Name()))
	const atATime = 256
	blocks := make([]byte, atATime*blockSize)
	for first := int64(0); first < size/blockSize; first += atATime {
		for i := int64(0); i < atATime; i++ {
			binary.NativeEndian.PutUint64(blocks[i*blockSize:], uint64(first+i))
		}
		_, err := file.Write(blocks)
		check("file_reads", err)
	}
	check("file_reads", file.Sync())
	drop(file, 0, 0)
	return file
}

func fileReads(s settings) []figure {
	runtime.GOMAXPROCS(2)
	const readers = 1000
	each, size := 4, int64(256<<20)
	if s.quick {
		each, size = 1, 64<<20
	}
	numbers := make([]int64, readers*each)
	state := uint32(1)
	for i := range numbers {
		state ^= state << 13
		state ^= state >> 17
		state ^= state << 5
		numbers[i] = int64(state) % (size / blockSize)
	}
	file := uncachedFile(size)
	times := make([]float64, len(numbers))
	var all sync.WaitGroup
	start := nowNS()
	for first := 0; first < len(numbers); first += each {
		all.Add(1)
		go func(first int) {
			block := make([]byte, blockSize)
			for i := first; i < first+each; i++ {
				drop(file, numbers[i]*blockSize, blockSize)
				begun := nowNS()
				_, err := file.ReadAt(block, numbers[i]*blockSize)
				times[i] = nowNS() - begun
				check("file_reads", err)
				if binary.NativeEndian.Uint64(block) != uint64(numbers[i]) {
					check("file_reads", fmt.Errorf("block %d of the file was not read", numbers[i]))
				}
			}
			all.Done()
		}(first)
	}
	all.Wait()
	took := nowNS() - start
	return []figure{{"file_reads", 2, took * 1e-3 / float64(len(numbers)), "µs",
		[]key{{"p99_us", quantile(times, 0.99) * 1e-3}, {"threads", threadsNow()}}}}
}
