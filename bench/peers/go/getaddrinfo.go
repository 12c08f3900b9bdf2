package main

import (
	"context"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
)

// ---- getaddrinfo: the C library's, where there is cgo, else Go's own reading of /etc/hosts.
//
// A Go program with cgo starts all its threads another way, and so is a program of its own, built from the same files:
// the one beside this whose name ends in _cgo. Each goroutine has its own Resolver, since those that share one share the
// answer, too.

const lookupTasks, lookupsEach = 200, 5

func lookUpAll() {
	var all sync.WaitGroup
	all.Add(lookupTasks)
	for i := 0; i < lookupTasks; i++ {
		go func() {
			var resolver net.Resolver
			for j := 0; j < lookupsEach; j++ {
				_, err := resolver.LookupIPAddr(context.Background(), "localhost")
				check("getaddrinfo", err)
			}
			all.Done()
		}()
	}
	all.Wait()
}

func getaddrinfo(s settings) []figure {
	if builtWithCgo == 0 {
		self, err := os.Executable()
		check("getaddrinfo", err)
		err = syscall.Exec(self+"_cgo", os.Args, os.Environ())
		if err != syscall.ENOENT {
			check(self+"_cgo", err)
		}
	}
	runtime.GOMAXPROCS(2)
	os.Setenv("GODEBUG", "netdns=cgo") // read at the first look-up
	rounds := perRound(s, lookUpAll)
	for i := range rounds {
		rounds[i] *= 1e3 / (lookupTasks * lookupsEach)
	}
	return []figure{{"getaddrinfo", 2, median(rounds), "µs", append(spreadOf(rounds), key{"cgo", builtWithCgo})}}
}
