package cli

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheWatchdogIsFedOnlyWhileTheLoopsGoOn(t *testing.T) {
	n := &notifier{some: make(chan struct{}, 1), every: 4 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked, well, fed := 0, 0, 0
	take := func() {
		for _, got := range sayAll(t, n) {
			if fed++; got != "WATCHDOG=1\n" {
				t.Errorf("got %q, want WATCHDOG=1", got)
			}
		}
	}
	var log buffer
	n.keepAlive(ctx, func() time.Duration {
		take()
		if asked++; asked == 12 {
			cancel()
		}
		if asked > 3 && asked <= 8 {
			return n.every / 2
		}
		well++
		return n.every/2 - 1
	}, logTo(&log))
	take()
	if fed != well {
		t.Errorf("fed: got %d times, want the %d times of %d at which no loop was hanging", fed, well, asked)
	}
	if got := strings.Count(log.String(), "a loop hangs in one callback"); got != 1 {
		t.Errorf("log: got %d lines about it in %s, want 1", got, log.String())
	}
}

// sayAll is what a manager that takes everything is told now.
func sayAll(t *testing.T, n *notifier) (all []string) {
	t.Helper()
	if err := n.sayNext(func(text string) error { all = append(all, text); return nil }); err != nil {
		t.Errorf("said to a manager that takes everything: got %v, want nil", err)
	}
	return all
}

// toldOf expects notices that begin with these.
func toldOf(t *testing.T, what string, said []string, wants ...string) {
	t.Helper()
	if len(said) != len(wants) {
		t.Errorf("%s: got %q, want %q", what, said, wants)
		return
	}
	for i, want := range wants {
		if !strings.HasPrefix(said[i], want) {
			t.Errorf("%s: got %q, want %q", what, said, wants)
		}
	}
}

func TestWhatTheManagerHasNotTakenIsSaidAgain(t *testing.T) {
	n := &notifier{some: make(chan struct{}, 1)}
	full := errors.New("its socket is full")
	fail := func() {
		t.Helper()
		if err := n.sayNext(func(string) error { return full }); err != full {
			t.Errorf("said to a manager that takes nothing: got %v, want its error", err)
		}
	}
	n.ready("two\nlines")
	n.alive()
	fail()
	fail()
	said := sayAll(t, n)
	toldOf(t, "at last, and no watchdog of before", said, "READY=1")
	if len(said) == 1 && !strings.Contains(said[0], "\nSTATUS=two lines\n") {
		t.Errorf("got %q, want the status in one line", said)
	}
	toldOf(t, "once more", sayAll(t, n))

	for range 100 {
		n.reloading()
		fail()
		n.reloaded("")
		n.alive()
		fail()
	}
	toldOf(t, "reloads", sayAll(t, n), "RELOADING=1", "READY=1")

	// A reload begins and ends while a READY of the same words is under way.
	n.reloaded("")
	var all []string
	if err := n.sayNext(func(text string) error {
		if all = append(all, text); len(all) == 1 {
			n.reloading()
			n.reloaded("")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	toldOf(t, "a reload meanwhile", all, "READY=1", "RELOADING=1", "READY=1")

	n.reloading()
	n.reloaded("")
	n.stopping("", time.Second)
	n.reloading()
	n.reloaded("")
	toldOf(t, "a stop", sayAll(t, n), "STOPPING=1")
}

func TestNothingIsSaidOfAReloadBeforeTheServerIsReady(t *testing.T) {
	n := &notifier{some: make(chan struct{}, 1)}
	n.reloading()
	n.reloaded("")
	toldOf(t, "before it", sayAll(t, n))
	n.reloading()
	n.ready("")
	n.reloaded("")
	toldOf(t, "a reload that has begun before it", sayAll(t, n), "READY=1")
}

// Without a manager nothing is kept that grows.
func TestWithoutAManagerNothingIsSaid(t *testing.T) {
	n := &notifier{}
	for range 100 {
		n.ready("")
		n.reloading()
		n.alive()
	}
	if len(n.state) > 2 {
		t.Errorf("to be said: got %d notices, want one of each kind at most", len(n.state))
	}
}
