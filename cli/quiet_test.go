package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// quietLog is a log with a clock that the test moves.
type quietLog struct {
	out  bytes.Buffer
	time time.Time
	due  map[time.Time][]func()
	*slog.Logger
	handler *quiet
}

func newQuietLog() *quietLog {
	l := &quietLog{time: time.Unix(1_000_000, 0), due: map[time.Time][]func(){}}
	l.handler = newQuiet(slog.NewTextHandler(&l.out, &slog.HandlerOptions{Level: slog.LevelDebug}), func() time.Time { return l.time },
		func(d time.Duration, f func()) { at := l.time.Add(d); l.due[at] = append(l.due[at], f) })
	l.Logger = slog.New(l.handler)
	return l
}

// pass lets time pass.
func (l *quietLog) pass(d time.Duration) {
	l.time = l.time.Add(d)
	for at, fs := range l.due {
		if !at.After(l.time) {
			delete(l.due, at)
			for _, f := range fs {
				f()
			}
		}
	}
}

// takes returns what was logged since, and clears it.
func (l *quietLog) takes() (lines []string) {
	lines = strings.Split(strings.TrimSpace(l.out.String()), "\n")
	l.out.Reset()
	if lines[0] == "" {
		return nil
	}
	return lines
}

func TestAMessageThatRepeatsItselfIsLeftOutAndCounted(t *testing.T) {
	l := newQuietLog()
	for i := range 10_000 {
		l.With("loop", i%3).Error("a callback panicked", "stack", "goroutine 7 …")
		l.pass(10 * time.Microsecond)
	}
	l.Info("something else")
	lines := l.takes()
	if len(lines) != 11 || !strings.Contains(lines[10], "something else") {
		t.Fatalf("in a tenth of a second: got %d lines, the last %q, want 10 and the other message", len(lines), lines[len(lines)-1])
	}
	l.pass(time.Second)
	lines = l.takes()
	if len(lines) != 1 {
		t.Fatalf("at the end of the second: got %q, want one line", lines)
	}
	has(t, "summary", lines[0], "level=ERROR", "left_out=9990", `message="a callback panicked"`)
	l.Error("a callback panicked")
	if lines := l.takes(); len(lines) != 1 {
		t.Errorf("in the next second: got %q, want the message again", lines)
	}
	l.pass(time.Minute)
	if lines := l.takes(); lines != nil {
		t.Errorf("when nothing more was left out: got %q, want no summary", lines)
	}
}

func TestWhatRepeatsItselfSlowlyIsAllLogged(t *testing.T) {
	l := newQuietLog()
	for range 100 {
		l.Warn("now and then")
		l.pass(101 * time.Millisecond)
	}
	if lines := l.takes(); len(lines) != 100 {
		t.Errorf("9.9 a second: got %d lines, want all 100", len(lines))
	}
}

func TestDebugIsLoggedWhole(t *testing.T) {
	l := newQuietLog()
	for range 1000 {
		l.Debug("closing a client")
	}
	if lines := l.takes(); len(lines) != 1000 {
		t.Errorf("got %d lines, want all 1000", len(lines))
	}
}

func TestTextsThatAreNeverTheSameAreLimitedTogether(t *testing.T) {
	l := newQuietLog()
	for i := range 100_000 {
		l.Error(fmt.Sprint("gnet: failed with ", i))
	}
	if n := len(l.handler.spells); n > spellsMax+1 {
		t.Errorf("texts remembered: got %d, want at most %d", n, spellsMax+1)
	}
	if lines := l.takes(); len(lines) != spellsMax+spellRecordsMax {
		t.Errorf("got %d lines, want %d", len(lines), spellsMax+spellRecordsMax)
	}
	l.pass(2 * time.Second)
	has(t, "summary", strings.Join(l.takes(), "\n"), fmt.Sprint("left_out=", 100_000-spellsMax-spellRecordsMax))
	for range 3 {
		l.Error("an old friend") // the earlier texts have been dropped
	}
	if lines := l.takes(); len(lines) != 3 {
		t.Errorf("later: got %q, want 3 lines", lines)
	}
}

func TestWhatWasLeftOutIsToldBeforeTheLogIsClosed(t *testing.T) {
	l := newQuietLog()
	for range 15 {
		l.Error("again")
	}
	l.takes()
	l.handler.flush()
	has(t, "summary", strings.Join(l.takes(), "\n"), "left_out=5")
	l.pass(time.Minute)
	if lines := l.takes(); lines != nil {
		t.Errorf("after it was told: got %q, want nothing", lines)
	}
}
