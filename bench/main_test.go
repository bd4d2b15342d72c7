package main

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// waitersPerCore: nearly all time of these tests is that of loads, which wait for clocks and sockets, so with as many at a time as there
// are cores, which is Go's default, the cores are idle. Under the race detector they are not.
const waitersPerCore = 2

// full is a rate as a flag has it: two fifths of it under the race detector, which makes all of a load's work slower, and none of its time longer.
func full(rate int) string {
	if underRace {
		rate = rate * 2 / 5
	}
	return strconv.Itoa(rate)
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
	if cores := runtime.GOMAXPROCS(0); !underRace && flag.Lookup("test.parallel").Value.String() == strconv.Itoa(cores) { // nobody has said otherwise
		_ = flag.Set("test.parallel", strconv.Itoa(waitersPerCore*cores)) // it is a number
	}
	status := m.Run()
	os.RemoveAll(ringcastMade)
	os.Exit(status)
}
