package main

import _ "unsafe" // for go:linkname

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// barePairs is the scheduler's share of a system call alone. Between the two no stack may grow.
//
//go:nosplit
func barePairs(n int) {
	for i := 0; i < n; i++ {
		entersyscall()
		exitsyscall()
	}
}
