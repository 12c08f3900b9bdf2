package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// ---- page_faults: see workloads/page_faults.cpp. Go doesn't know that an access waits for the device, either: its P
// waits with it.

const (
	walkers      = 64
	pagesAtATime = 16 // then a walker yields
)

// mappedFile is an uncachedFile in memory. Each touch of one of its pages waits for the device.
type mappedFile struct {
	file  *os.File
	pages []byte
}

func newMappedFile(size int64) mappedFile {
	file := uncachedFile(size)
	pages, err := syscall.Mmap(int(file.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	check("mmap", err)
	check("madvise", syscall.Madvise(pages, syscall.MADV_RANDOM)) // or the kernel would read ahead
	return mappedFile{file, pages}
}

func (file mappedFile) touch(number int) {
	if binary.NativeEndian.Uint64(file.pages[number*blockSize:]) != uint64(number) {
		check("page_faults", fmt.Errorf("page %d of the file is another one", number))
	}
}

// drop makes pages that were touched cold again.
func (file mappedFile) drop(begin, end int) {
	check("madvise", syscall.Madvise(file.pages[begin*blockSize:end*blockSize], syscall.MADV_DONTNEED))
	drop(file.file, int64(begin*blockSize), int64((end-begin)*blockSize))
}

// walk goes over the pages from begin to end, until stop is set. Should it come to the end, it drops them and starts
// anew.
func (file mappedFile) walk(begin, end int, stop *atomic.Bool, pages *atomic.Int64) {
	for next := begin; !stop.Load(); {
		for i := 0; i < pagesAtATime; i++ {
			file.touch(next + i)
		}
		pages.Add(pagesAtATime)
		if next += pagesAtATime; next == end {
			file.drop(begin, end)
			next = begin
		}
		runtime.Gosched()
	}
}

func pageFaults(s settings) []figure {
	runtime.GOMAXPROCS(2)
	forNS, size := 300e6, int64(256<<20)
	if s.quick {
		forNS, size = 100e6, 64<<20
	}
	file := newMappedFile(size)
	alone := computeFor(forNS)
	var stop atomic.Bool
	var pages atomic.Int64
	var all sync.WaitGroup
	all.Add(walkers)
	each := int(size) / blockSize / walkers
	for i := 0; i < walkers; i++ {
		go func(begin int) {
			file.walk(begin, begin+each, &stop, &pages)
			all.Done()
		}(i * each)
	}
	beside := computeFor(forNS)
	touched := float64(pages.Load())
	stop.Store(true)
	all.Wait()
	return []figure{{"page_faults", 2, 100 * beside / alone, "%",
		[]key{{"pages_per_s", touched * 1e9 / forNS}, {"threads", threadsNow()}}}}
}
