package cli

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestTheWatchdogIsFedOnlyWhileTheLoopsGoOn(t *testing.T) {
	n := &notifier{queue: make(chan string, 100), every: 4 * time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked, well, fed := 0, 0, 0
	take := func() {
		select {
		case got := <-n.queue:
			if fed++; got != "WATCHDOG=1\n" {
				t.Errorf("got %q, want WATCHDOG=1", got)
			}
		default:
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

func TestAManagerThatIsSlowIsNotWaitedFor(t *testing.T) {
	n := &notifier{queue: make(chan string, 1)}
	for range 10 {
		n.ready("two\nlines")
	}
	if got := <-n.queue; !strings.Contains(got, "\nSTATUS=two lines\n") {
		t.Errorf("got %q, want the status in one line", got)
	}
}
