package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// result is what a verb found out: lines for people, and the same as JSON for whatever compares runs.
type result struct {
	Verb    string         `json:"verb"`
	Started time.Time      `json:"started"`
	Machine machine        `json:"machine"`
	Flags   map[string]any `json:"flags"`

	Connect *connectFigures `json:"connect,omitempty"`
	Fanout  *fanoutFigures  `json:"fanout,omitempty"`

	Limit      string  `json:"saturated,omitempty"`
	RateVoid   bool    `json:"rate_void"`
	ServerCore float64 `json:"server_cores,omitempty"`
	Busy       float64 `json:"machine_busy_share"`

	Verdict  string              `json:"verdict"`
	Fine     bool                `json:"fine"`
	Causes   map[string]int      `json:"failures_by_cause,omitempty"`
	Counts   map[string]uint64   `json:"faults,omitempty"`
	Examples map[string][]string `json:"fault_examples,omitempty"`
	Notes    []string            `json:"notes,omitempty"`

	lines []string
}

// machine is what a figure must not be quoted without.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_bytes"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

const verdictFine = "fine"

func (e *env) newResult(verb string) *result {
	return &result{Verb: verb, Started: time.Now(), Machine: readMachineKind(), Flags: e.flags}
}

func readMachineKind() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = uint64(info.Totalram) * uint64(info.Unit)
	}
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the name stays empty
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func (r *result) line(name, format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf("%-11s ", name)+fmt.Sprintf(format, args...))
}

// limit works out who was saturated over a phase.
func (r *result) limit(s *session, uses []threadUse, cpu cpuTime, machine float64) {
	var wall time.Duration // of the whole phase, as cpu and machine are
	busy := make([]float64, len(uses))
	for i, u := range uses {
		busy[i] = u.busy()
		wall = max(wall, u.Wall)
	}
	r.ServerCore, r.Busy = share(cpu.total(), wall), machine
	server := r.ServerCore
	if s.victim == nil {
		server = -1
	}
	r.Limit, r.RateVoid = limit(busy, server, machine)
}

func (r *result) takeFaults(f *faults) {
	r.Counts, r.Examples, r.Notes = map[string]uint64{}, map[string][]string{}, f.notes
	for kind := range faultKinds {
		if f.counts[kind] > 0 {
			r.Counts[kind.String()], r.Examples[kind.String()] = f.counts[kind], f.examples[kind]
		}
	}
}

// end prints the result, writes the file if one is wanted, and turns the verdict into the verb's error.
func (r *result) end(e *env, file string) error {
	r.Fine = strings.HasPrefix(r.Verdict, verdictFine)
	r.line("check", "%s", r.Verdict)
	for _, cause := range slices.Sorted(maps.Keys(r.Causes)) {
		r.line("", "%s × %s", count(r.Causes[cause]), cause)
	}
	for kind := range faultKinds {
		name := kind.String()
		if r.Counts[name] == 0 {
			continue
		}
		r.line("", "%s %s", count(r.Counts[name]), name)
		for _, example := range r.Examples[name] {
			r.line("", "  %s", example)
		}
	}
	for _, note := range r.Notes {
		r.line("", "note: %s", note)
	}
	fmt.Fprintln(e.stdout, strings.Join(r.lines, "\n"))
	if file != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if !r.Fine {
		return errFaulty
	}
	return nil
}

func voidMark(void bool) string {
	if void {
		return " (VOID)"
	}
	return ""
}

// count writes a number with separators: 1,234,567.
func count[T ~int | ~int64 | ~uint64](n T) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
