package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
)

// machine is what the kernel and the Go runtime report about this process at one moment. Where there is no /proc, the fields
// read from it stay zero: a status with gaps is better than none.
type machine struct {
	CPUs            int        `json:"cpus"`             // CPUs that Go code may use at once
	LoadAverage     [3]float64 `json:"load_average"`     // the machine's, over 1, 5 and 15 minutes
	RSSBytes        uint64     `json:"rss_bytes"`        // resident memory
	HeapBytes       uint64     `json:"heap_bytes"`       // heap in use
	HeapAllocations uint64     `json:"heap_allocations"` // heap objects allocated since the start
	Goroutines      uint64     `json:"goroutines"`
	GCCycles        uint64     `json:"gc_cycles"`
	DescriptorsOpen int        `json:"descriptors_open"`
	DescriptorsMax  uint64     `json:"descriptors_max"` // the soft limit, `ulimit -n`
}

func readMachine() machine {
	m := machine{CPUs: runtime.GOMAXPROCS(0)}

	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		for i, field := range strings.Fields(string(text)) {
			if i == len(m.LoadAverage) {
				break
			}
			m.LoadAverage[i], _ = strconv.ParseFloat(field, 64)
		}
	}
	// Second field of statm: resident pages (proc_pid_statm(5)).
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			pages, _ := strconv.ParseUint(fields[1], 10, 64)
			m.RSSBytes = pages * uint64(os.Getpagesize())
		}
	}
	m.DescriptorsOpen = countDescriptors()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		m.DescriptorsMax = uint64(limit.Cur)
	}

	// runtime/metrics and not ReadMemStats, which stops the world: a status must not delay clients.
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/allocs:objects"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/gc/cycles/total:gc-cycles"},
	}
	metrics.Read(samples)
	for i, into := range []*uint64{&m.HeapBytes, &m.HeapAllocations, &m.Goroutines, &m.GCCycles} {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			*into = samples[i].Value.Uint64()
		}
	}
	return m
}

// memoryAuto is the memory limit if the operator sets none, and what it was taken from: GOMEMLIMIT if that is set, else four
// fifths of the memory of the cgroup or the machine. The rest is for the kernel, which needs more memory per socket than this
// process does.
func memoryAuto() (bytes int64, from string) {
	if goLimit != math.MaxInt64 {
		return goLimit, "GOMEMLIMIT"
	}
	least, from := memoryOfMachine(), "machine"
	if strconv.IntSize == 32 && addressBytes < least {
		least, from = addressBytes, "address space"
	}
	if cgroups := memoryOfCgroup(); cgroups < least {
		least, from = cgroups, "cgroup"
	}
	if least == math.MaxInt64 {
		return 0, "nothing"
	}
	return least / 5 * 4, from
}

// addressBytes is what a 32-bit process can have, on a kernel of as many bits.
const addressBytes = 3 << 30

// goLimit is GOMEMLIMIT: read before the server sets a limit of its own, because a reload needs it again.
var goLimit = debug.SetMemoryLimit(-1)

// kernelText names the kernel, such as Linux 6.1.0.
func kernelText() string {
	name, err := os.ReadFile("/proc/sys/kernel/ostype")
	if err != nil {
		return runtime.GOOS
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(strings.TrimSpace(string(name)) + " " + strings.TrimSpace(string(release)))
}
