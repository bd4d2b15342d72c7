package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// sink is what a log goes to, as a test wants it: each write waits for a token, unless the sink is open.
type sink struct {
	buffer
	tokens chan struct{}
	open   sync.Once

	mu   sync.Mutex
	fail func(p []byte) (n int, err error) // nil: all goes well
}

func newSink() *sink { return &sink{tokens: make(chan struct{})} }

func (p *sink) opened() *sink { p.open.Do(func() { close(p.tokens) }); return p }

func (p *sink) Write(b []byte) (int, error) {
	<-p.tokens
	p.mu.Lock()
	fail := p.fail
	p.mu.Unlock()
	if fail == nil {
		return p.buffer.Write(b)
	}
	n, err := fail(b)
	p.buffer.Write(b[:n])
	return n, err
}

func (p *sink) failing(f func(b []byte) (int, error)) { p.mu.Lock(); defer p.mu.Unlock(); p.fail = f }

// missingText is a line that is easy to read again.
func missingText(lines uint64, err error) []byte {
	return fmt.Appendf(nil, "missing %d: %v\n", lines, err)
}

// newPatient is a writer that waits as long as a test does.
func newPatient(to io.Writer) *logWriter {
	w := newLogWriter(to, missingText)
	w.patience = patience
	return w
}

// tally sums up a text of numbered lines: how many there are, and how many are said to be missing. The order must be kept,
// and it must be said where they are missing.
func tally(t *testing.T, text string, next int) (kept, missing int) {
	t.Helper()
	said := regexp.MustCompile(`^missing (\d+): <nil>$`)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := said.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[1])
			next, missing = next+n, missing+n
			continue
		}
		number, _, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(number); err != nil || n != next {
			t.Fatalf("got line %q, want that of number %d", line, next)
		}
		next, kept = next+1, kept+1
	}
	return kept, missing
}

func TestWhoLogsNeverWaitsForTheLog(t *testing.T) {
	p := newSink()
	w := newPatient(p)
	const lines = 40_000
	for i := range lines { // about 4 MiB; a writer that waited would stay here for ever
		fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("x", 100))
	}
	full := w.losses()["full"]
	if full == 0 || full >= lines {
		t.Fatalf("dropped with %d lines logged: got %d, want some", lines, full)
	}
	w.mu.Lock()
	if waiting := len(w.lines) - w.first; waiting > logBytesMax {
		t.Errorf("bytes that wait: got %d, want at most %d", waiting, logBytesMax)
	}
	w.mu.Unlock()
	p.opened()
	eventually(t, "it is said how many are missing", func() bool { return strings.Contains(p.String(), "missing ") })
	fmt.Fprintf(w, "%d the last\n", lines)
	w.close()
	kept, missing := tally(t, p.String(), 0)
	if kept+missing != lines+1 || uint64(missing) != full {
		t.Errorf("got %d lines and %d said to be missing, want %d in all and %d missing", kept, missing, lines+1, full)
	}
	if cap(w.lines) > logBytesKept {
		t.Errorf("buffer of an idle log: got %d bytes, want it released", cap(w.lines))
	}
	fmt.Fprintf(w, "after the end\n")
	if strings.Contains(p.String(), "after the end") || w.losses()["full"] != full+1 {
		t.Errorf("what is logged after the end: got %d dropped, want %d", w.losses()["full"], full+1)
	}
}

func TestLinesOfManyLoggersStayWholeAndInOrder(t *testing.T) {
	p := newSink().opened()
	w := newPatient(p)
	const loggers, each = 8, 500
	var all sync.WaitGroup
	for l := range loggers {
		all.Go(func() {
			for i := range each {
				fmt.Fprintf(w, "%d %d %s\n", l, i, strings.Repeat("y", i%200))
			}
		})
	}
	all.Wait()
	long := strings.Repeat("z", 3*logPieceBytes)
	fmt.Fprintln(w, long)
	fmt.Fprintln(w, "the end")
	w.close()
	next := make([]int, loggers)
	lines := strings.Split(strings.TrimSuffix(p.String(), "\n"), "\n")
	for _, line := range lines[:len(lines)-2] {
		var l, i int
		var rest string
		fmt.Sscanf(line, "%d %d %s", &l, &i, &rest)
		if i != next[l] || rest != strings.Repeat("y", i%200) {
			t.Fatalf("logger %d: got line %q, want whole that of number %d", l, line, next[l])
		}
		next[l]++
	}
	if got := strings.Join(lines[len(lines)-2:], "\n"); got != long+"\nthe end" || len(lines) != loggers*each+2 {
		t.Errorf("got %d lines, the last two %.60q…, want %d and a long one before the end", len(lines), got, loggers*each+2)
	}
}

func TestALogThatCannotBeWrittenIsTriedAgainWithTheNextLines(t *testing.T) {
	p := newSink().opened()
	w := newPatient(p)
	write := func(text string) {
		fmt.Fprintln(w, text)
		w.catchUp()
	}
	write("one")
	p.failing(func([]byte) (int, error) { return 0, syscall.EPIPE })
	write("two")
	write("three")
	p.failing(func(b []byte) (int, error) { return min(len(b), 3), syscall.ENOSPC }) // in the middle of a line
	write("four")
	p.failing(nil)
	write("five")
	tries := 0
	p.failing(func(b []byte) (int, error) { // somebody has made the descriptor non-blocking
		if tries++; tries < 3 {
			return 1, syscall.EAGAIN
		}
		return len(b), nil
	})
	write("six")
	p.failing(func([]byte) (int, error) { return 0, syscall.EIO })
	write("seven")
	p.failing(nil)
	w.close()
	want := "one\nmis\nfo\nmissing 3: no space left on device\nfive\nsix\nmissing 1: input/output error\n"
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := w.losses(); got["failed"] != 4 || got["full"] != 0 {
		t.Errorf("dropped: got %v, want 4 failed", got)
	}
}

func TestAnEndWaitsForALogThatTakesNothingForAWhileOnly(t *testing.T) {
	p := newSink()
	defer p.opened()
	w := newPatient(p)
	w.patience = time.Millisecond
	fmt.Fprintln(w, "one")
	if w.close() { // it must return
		t.Error("close: got that all was written to a place that takes nothing")
	}
	slow := newSink()
	defer slow.opened()
	w = newPatient(slow)
	for i := range 200 {
		fmt.Fprintf(w, "%d %s\n", i, strings.Repeat("x", 100))
	}
	go func() {
		for range 3 {
			slow.tokens <- struct{}{}
		}
		slow.opened()
	}()
	if !w.close() {
		t.Error("close: got that not all was written to a place that takes piece after piece")
	}
	if kept, _ := tally(t, slow.String(), 0); kept != 200 {
		t.Errorf("got %d lines, want 200", kept)
	}
}

// A log that is opened anew because the old one takes nothing: a hung file system, a pipe without a reader.
func TestAnOldLogThatTakesNothingIsGivenUp(t *testing.T) {
	old, fresh := newSink(), newSink().opened()
	w := newPatient(old)
	fmt.Fprintln(w, "0 held")
	eventually(t, "it is being written", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.hand.piece > 0 })
	fmt.Fprintln(w, "1 waits")
	w.patience = time.Millisecond
	released := make(chan struct{})
	w.turnTo(fresh, func() { close(released) })
	w.patience = patience
	fmt.Fprintln(w, "2 new")
	w.catchUp()
	if got := fresh.String(); got != "1 waits\n2 new\n" {
		t.Errorf("the new log: got %q, want what waited and what came", got)
	}
	old.opened()
	<-released
	if got := old.String(); got != "0 held\n" {
		t.Errorf("the old log: got %q, want what it was held up with", got)
	}
	w.close()
}

func TestAReloadIsNotHeldUpByAnOldLogThatTakesNothing(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir.path, "my.log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it does not read
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f := newFakeServer()
	v := serving(t, f, dir, "--log-file", path, "--log-level", "debug")
	for i := range 4_000 { // more than the pipe holds, less than may wait
		f.cfg.Log.Debug("a long one", "i", i, "text", strings.Repeat("x", 100))
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := do(t, "reload", "--run-dir", dir.path); status != 0 {
		t.Fatalf("reload: got exit status %d: %s", status, stderr)
	}
	v.asked <- os.Interrupt
	v.exit(t)
	text, _ := os.ReadFile(path)
	has(t, "the new file", string(text), "i=3999", "msg=reloaded", "msg=stopped")
}

func TestALogFileThatCannotBeOpenedInTimeIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openInTime(path, time.Millisecond) // waits for a reader
	if wrong := (*settings.UsageError)(nil); !errors.As(err, &wrong) {
		t.Fatalf("got %v, want a mistake of the operator", err)
	}
	has(t, "message", err.Error(), path, "named pipe start its reader")
	reader, err := os.OpenFile(path, os.O_RDONLY, 0) // lets who still opens it go
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
}

func TestWhatIsMissingIsSaidInTheLogsOwnFormat(t *testing.T) {
	for format, want := range map[string]string{
		"text": `level=WARN msg="log lines were left out: they could not be written" left_out=7 err="no luck"` + "\n",
		"json": `"level":"WARN","msg":"log lines were left out: they could not be written","left_out":7,"err":"no luck"}` + "\n",
	} {
		if got := string(missingLine(format, 7, errors.New("no luck"))); !strings.HasSuffix(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: got %q, want a line that ends with %q", format, got, want)
		}
	}
	has(t, "without an error", string(missingLine("text", 7, nil)), "too slowly, or not at all", "left_out=7")
}

// A banner that nobody reads must not keep a server from ending when it is asked to.
func TestABannerThatNobodyTakesHoldsNothingUp(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	out, in := io.Pipe() // what is written here waits for its reader
	defer out.Close()
	v := &verb{asked: make(chan os.Signal, 2), exited: make(chan int, 1)}
	r := &env{args: []string{"start", "--run-dir", dir.path}, stdout: in, stderr: &v.err, serve: f.serve,
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return v.asked, nil, func() {} }}
	go func() { v.exited <- run(r) }()
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	has(t, "log", v.err.String(), "msg=listening", "msg=stopped")
}

func TestAStartThatFailsEndsAlsoWhereNobodyReadsWhy(t *testing.T) {
	errs, in := io.Pipe()
	defer errs.Close()
	v := &verb{exited: make(chan int, 1)}
	r := &env{args: []string{"start", "--run-dir", shortDir(t).path}, stdout: &v.out, stderr: in,
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return nil, nil, func() {} },
		serve:   func(loop.Config) (server, hub, error) { return nil, nil, errors.New("no luck") }}
	go func() { v.exited <- run(r) }()
	if status := v.exit(t); status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
}
