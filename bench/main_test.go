package main

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"ringcast/bench/check"
)

// waitersPerCore: nearly all time of these tests is that of loads, which wait for clocks and sockets, so with as many at a time as there
// are cores, which is Go's default, the cores are idle. The race detector gives them more to do.
var waitersPerCore = map[bool]int{false: 3, true: 2}[underRace]

// patient is for loads that must end well: a machine that stalls has lost nothing then. What is lost is known after the patience alone, so
// loads that lose something have the default.
const (
	patient      = "--patience=30s"
	patienceTime = 30 * time.Second
)

// lastTry bounds again: a try for this time or longer is the last one. As each takes twice as long as the one before, the last may take up to
// twice this time, and all together up to four times.
const lastTry = 16 * time.Second

// patience is that of a load whose only fault is of a kind. What one who was cut off would have got is waited for as well.
func patience(kind check.Fault) string {
	if kind == check.Lost || kind == check.Cut {
		return "--patience=" + quietMax.String()
	}
	return patient
}

// again runs a load for a time, and as long as what the load is about has not been made to happen in it, once more for twice as long: how much
// comes to pass in a time depends on what else the machine does. A try judges what must hold in any run and what has happened, and says whether it
// did at all; it starts a server of its own. What its runs print is in the test's log, see benchAll.
func again(t *testing.T, long time.Duration, try func(long time.Duration) (happened bool)) {
	t.Helper()
	for ; !try(long); long *= 2 {
		if long >= lastTry {
			t.Fatalf("what the test is about has not happened in %v", long)
		}
		t.Logf("it has not happened in %v: once more for twice as long", long)
	}
}

// unraced skips a test under the race detector that starts whole programs, which are built without it, or draws and computes for seconds what is
// checked for being right: it takes minutes then. CI runs all tests without the detector first.
func unraced(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("whole programs are started, or what is computed is checked: CI has just run it without the race detector")
	}
}

// TestMain lets the test program be the bench's own child, which is this program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "dropper" {
		serveDropper(os.Args[2])
	}
	if len(os.Args) > 2 && os.Args[1] == "start" {
		serveNode(os.Args[2:])
	}
	if len(os.Args) > 1 && slices.Contains([]string{"ceiling", "helper", "connect", "fanout"}, os.Args[1]) {
		main()
	}
	flag.Parse()
	if cores := runtime.GOMAXPROCS(0); flag.Lookup("test.parallel").Value.String() == strconv.Itoa(cores) { // nobody has said otherwise
		_ = flag.Set("test.parallel", strconv.Itoa(waitersPerCore*cores)) // it is a number
	}
	status := m.Run()
	os.RemoveAll(ringcastMade)
	os.Exit(status)
}
