package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// readThread reads the calling thread's times. /proc/thread-self/schedstat has them in nanoseconds: on a core, and
// waiting for one. On kernels without it getrusage gives the first of the two.
func readThread() report.Thread {
	u := report.Thread{At: client.Clock()}
	if text, err := os.ReadFile("/proc/thread-self/schedstat"); err == nil {
		var slices int64
		if n, _ := fmt.Sscan(string(text), (*int64)(&u.OnCore), (*int64)(&u.Waiting), &slices); n == 3 && u.OnCore > 0 {
			return u
		}
	}
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &r) == nil {
		u.OnCore = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return u
}

// machineUse is the ticks of all cores so far, from the first line of /proc/stat.
type machineUse struct{ busy, all int64 }

func readMachine() machineUse {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineUse{}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var u machineUse
	for i, field := range strings.Fields(line) {
		v, err := strconv.ParseInt(field, 10, 64)
		if err != nil || i > 8 { // the label; guest times, which are part of user time already
			continue
		}
		u.all += v
		if i != 4 && i != 5 { // idle, iowait
			u.busy += v
		}
	}
	return u
}

func (u machineUse) since(before machineUse) float64 {
	if u.all <= before.all {
		return 0
	}
	return float64(u.busy-before.busy) / float64(u.all-before.all)
}

// saturated is the share above which a part counts as the limit of what was measured.
const saturated = 0.95

// limit says what was saturated, and whether that makes the rate void. threads is each generator's busy share, server
// the cores that the server used (negative: unknown), machine the busy share of all cores.
//
// Only a saturated generator voids a rate: it then measured itself. When all cores are busy without that, the
// machine limited both, and only the cost per delivery can be compared.
func limit(threads []float64, server, machine float64) (sentence string, void bool) {
	for i, busy := range threads {
		if busy > saturated {
			return fmt.Sprintf("the generator: thread %d was busy or waiting for a core %.0f %% of the time. The rate is void, it measures the bench", i, 100*busy), true
		}
	}
	switch cores := runtime.NumCPU(); {
	case machine > saturated:
		return fmt.Sprintf("the machine: all %d cores were %.0f %% busy with server, generator and others. Compare the cost per delivery, not the rate", cores, 100*machine), false
	case server > saturated && server > saturated*float64(cores):
		return "the server: it used all cores", false
	case server > saturated:
		return fmt.Sprintf("perhaps the server: it used %.2f cores, neither generator nor machine was full", server), false
	}
	return "nobody: generator, machine and server had time left", false
}
