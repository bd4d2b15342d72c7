package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

const verdictFine = "fine"

// newRun begins the record of one load against one server.
func (e *env) newRun(verb string, s *session, flags map[string]any) *report.Run {
	return &report.Run{Server: s.name, Verb: verb, Started: time.Now(), Flags: flags}
}

// newFile is a result file of this command on this machine.
func (e *env) newFile(runs ...*report.Run) *report.File {
	return &report.File{Format: report.Format, Command: strings.Join(e.args, " "), Started: e.started, Machine: readMachineKind(),
		Commit: commit(), Runs: runs}
}

// end prints the runs, writes the file if one is wanted, and turns the verdicts into the verb's error. Runs beside the first are only a
// yardstick.
func (e *env) end(file string, runs ...*report.Run) error {
	f := e.newFile(runs...)
	fmt.Fprint(e.stdout, report.Text(f))
	if file != "" {
		if err := f.Write(file); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	for i, r := range runs {
		if !r.Fine && (i == 0 || !r.IsBeside()) {
			return errFaulty
		}
	}
	return nil
}

// commit is the version of the tree that the bench was built from: as recorded by the build, or, since `go run` records
// none, as git has it in the working directory.
func commit() string {
	if noted := builtFrom(); noted != "" {
		return noted
	}
	root, err := findRoot()
	if err != nil {
		return ""
	}
	revision, err := exec.Command("git", "-C", root, "rev-parse", "HEAD").Output()
	if err != nil {
		return ""
	}
	changed := ""
	if changes, err := exec.Command("git", "-C", root, "status", "--porcelain").Output(); err != nil || len(changes) > 0 {
		changed = "+changes"
	}
	return strings.TrimSpace(string(revision)) + changed
}

func builtFrom() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + changed
}

func readMachineKind() report.Machine {
	m := report.Machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
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

// noteLimit determines what was saturated over a phase.
func noteLimit(r *report.Run, s *session, uses []report.Thread, cpu cpuTime, machine float64) {
	var wall time.Duration // of the whole phase, as cpu and machine are
	busy := make([]float64, len(uses))
	for i, u := range uses {
		busy[i] = u.Busy()
		wall = max(wall, u.Wall)
	}
	r.Threads, r.Busy = uses, machine
	server := -1.0
	if s.victim != nil {
		r.ServerCore = report.Share(cpu.total(), wall)
		server = r.ServerCore
	} else {
		r.Notes = append(r.Notes, fmt.Sprintf("the server's processes were not seen: %v", s.blindness))
	}
	r.Limit, r.RateVoid = limit(busy, server, machine)
}

func noteFaults(r *report.Run, f *check.Faults) {
	r.Counts, r.Examples = map[string]uint64{}, map[string][]string{}
	r.Notes = append(r.Notes, f.Notes...)
	for kind := range check.Kinds {
		if f.Counts[kind] > 0 {
			r.Counts[kind.String()], r.Examples[kind.String()] = f.Counts[kind], f.Examples[kind]
		}
	}
}

// count writes a number with separators: 1,234,567.
func count[T ~int | ~int64 | ~uint64](n T) string { return report.Count(int64(n)) }

// brief writes nanoseconds with three digits.
func brief(ns int64) string { return report.Brief(ns) }
