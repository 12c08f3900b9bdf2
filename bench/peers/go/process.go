package main

import (
	"fmt"
	"os"
	"strings"
)

// statusNumber is a field of /proc/self/status; those that are sizes are in KiB.
func statusNumber(field string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	check("/proc/self/status", err)
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, field+":"); found {
			var number float64
			_, err := fmt.Sscan(rest, &number)
			check(line, err)
			return number
		}
	}
	check("/proc/self/status", fmt.Errorf("no %s", field))
	return 0
}

// threadsNow is also the most threads that the process had so far: Go gives none back, but those of goroutines that
// end while they are locked to one, which only handoff_cold_sysmon has. So nothing needs to look meanwhile, and to take
// time from what is measured.
func threadsNow() float64 { return statusNumber("Threads") }

func residentMiB() float64 { return statusNumber("VmRSS") / 1024 }
