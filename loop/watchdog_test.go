package loop

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

const slowTurn = 100 * time.Millisecond

// watching is a watchdog over two loops that no goroutine runs.
func watching() (*watchdog, []*shard) {
	h := newHub(2, defaultBounds())
	return newWatchdog(h, slog.New(slog.DiscardHandler)), h.shards
}

// looks lets the watchdog look n times, a period apart, and gives what it found.
func (w *watchdog) looks(n int) (slow []int) {
	for range n {
		slow = append(slow, w.look(slowTurn/looksPerSlowTurn, slowTurn/looksPerSlowTurn, slowTurn)...)
	}
	return slow
}

func TestASlowTurnIsCountedOnce(t *testing.T) {
	w, shards := watching()
	shards[1].callback.steps.Add(1)
	if got := w.looks(looksPerSlowTurn); got != nil {
		t.Errorf("not seen for the threshold yet: got slow loops %v, want none", got)
	}
	if got := w.looks(100); !slices.Equal(got, []int{1}) {
		t.Errorf("slow loops: got %v, want 1, once", got)
	}
	shards[1].callback.steps.Add(2) // the next callback
	if got := w.looks(100); !slices.Equal(got, []int{1}) {
		t.Errorf("slow loops in its next callback: got %v, want 1, once", got)
	}
	if a, b := shards[0].count.SlowTurns.Load(), shards[1].count.SlowTurns.Load(); a != 0 || b != 2 {
		t.Errorf("slow turns counted: got %d and %d, want 0 and 2", a, b)
	}
}

func TestManyShortTurnsAreNoSlowOne(t *testing.T) {
	w, shards := watching()
	shards[0].callback.steps.Add(1)
	for range 1000 {
		shards[0].callback.steps.Add(2) // the end of a callback and the beginning of the next
		if got := w.looks(looksPerSlowTurn / 2); got != nil {
			t.Fatalf("slow loops: got %v, want none", got)
		}
	}
}

func TestAProcessThatWasStoppedDoesNotReportItsPause(t *testing.T) {
	w, shards := watching()
	shards[0].callback.steps.Add(1)
	w.looks(1)
	if got := w.look(time.Hour, slowTurn/looksPerSlowTurn, slowTurn); got != nil {
		t.Errorf("after an hour in which the watchdog did not run either: got slow loops %v, want none", got)
	}
	if got := w.looks(looksPerSlowTurn); !slices.Equal(got, []int{0}) {
		t.Errorf("slow loops when it goes on like that: got %v, want 0", got)
	}
}

// Whoever feeds a watchdog of the machine asks this, also where slow turns are not logged.
func TestTheHubKnowsForHowLongALoopIsInOneCallback(t *testing.T) {
	w, shards := watching()
	const period = 250 * time.Millisecond
	look := func(elapsed time.Duration, want time.Duration) {
		t.Helper()
		if slow := w.look(elapsed, period, 0); slow != nil {
			t.Errorf("slow loops without a threshold: got %v, want none", slow)
		}
		if got := w.hub.Busy(); got != want {
			t.Errorf("busy: got %v, want %v", got, want)
		}
	}
	look(period, 0)
	shards[1].callback.steps.Add(1)
	look(period, 0) // it may have begun just now
	look(period, period)
	look(period, 2*period)
	look(time.Hour, 4*period) // the process was stopped
	shards[1].callback.steps.Add(1)
	look(period, 0)
}

// lockedLog is a log that is read while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestASlowTurnIsLoggedWithTheStackOfItsLoop(t *testing.T) {
	log := &lockedLog{}
	s, err := Start(Config{Loops: 3, Log: slog.New(slog.NewTextHandler(log, nil)), Limits: Limits{SlowTurn: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background(), nil) })
	hub := s.Hub()
	goOn := make(chan struct{})
	letGo := func() { close(goOn) }
	t.Cleanup(func() { letGo() })
	hold := func() {
		until := goOn
		hub.shards[1].calls.add(func(*shard) { heldUpOnPurpose(until) })
		hub.wake(1)
	}
	hold()
	held := uint64(1)
	line := regexp.MustCompile(`(?m)^.*level=WARN.*loop=1 .*slow_turn=20ms.*heldUpOnPurpose.*$`)
	awaited(t, "the slow turn is logged with its stack", func() bool {
		if line.MatchString(log.String()) {
			return true
		}
		// On a busy machine another loop may have taken the line of this second: this loop's next one is logged then.
		if hub.Snapshot().Loops[1].SlowTurns >= held {
			letGo()
			goOn = make(chan struct{})
			hold()
			held++
		}
		return false
	})
	if n := hub.Snapshot().Loops[1].SlowTurns; n < held-1 || n == 0 { // the last may have been begun when the one before was just being logged
		t.Errorf("slow turns of loop 1: got %d, want all %d but the last", n, held)
	}
}

// heldUpOnPurpose is what the stack has to show.
func heldUpOnPurpose(goOn <-chan struct{}) { <-goOn }

// awaited waits for a condition.
func awaited(t *testing.T, what string, f func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for deadline := time.After(30 * time.Second); !f(); {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited for: %s", what)
		}
	}
}
