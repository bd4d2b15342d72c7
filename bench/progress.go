package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
)

// tally is what a progress line shows. Its rate is the growth of rated; done moves the bar. p99 is in nanoseconds, 0
// where there is none.
type tally struct{ done, rated, errors, p99 int64 }

const (
	barEvery  = 200 * time.Millisecond
	lineEvery = 2 * time.Second // a log must not fill with progress
)

// progress shows the progress of a phase, on stderr so that results can be piped. Its goroutine only reads atomics through
// the sample function.
type progress struct {
	once  sync.Once
	quit  chan struct{}
	ended chan struct{}
}

func (e *env) progress(label string, total int64, sample func() tally) *progress {
	p := &progress{quit: make(chan struct{}), ended: make(chan struct{})}
	every, show := lineEvery, lines(e.stderr, label, total)
	if isTerminal(e.stderr) {
		every, show = barEvery, bar(e.stderr, label, total)
	}
	go p.loop(every, sample, show)
	return p
}

func (p *progress) loop(every time.Duration, sample func() tally, show func(t tally, rate float64, last bool)) {
	defer close(p.ended)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	before, at := sample(), time.Now()
	for {
		last := false
		select {
		case <-p.quit:
			last = true
		case <-ticker.C:
		}
		now, t := time.Now(), sample()
		show(t, float64(t.rated-before.rated)/now.Sub(at).Seconds(), last)
		if last {
			return
		}
		before, at = t, now
	}
}

// stop ends the display; the terminal's line is cleared then. Calling it again is harmless.
func (p *progress) stop() {
	p.once.Do(func() { close(p.quit) })
	<-p.ended
}

func lines(w io.Writer, label string, total int64) func(tally, float64, bool) {
	return func(t tally, rate float64, last bool) {
		if !last { // a phase shorter than lineEvery needs none, the result follows at once
			fmt.Fprintf(w, "%s: %d %%, %s\n", label, 100*min(t.done, total)/max(total, 1), t.text(rate))
		}
	}
}

func bar(w io.Writer, label string, total int64) func(tally, float64, bool) {
	b := progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false))
	return func(t tally, rate float64, last bool) {
		b.Describe(label + ": " + t.text(rate))
		_ = b.Set64(min(t.done, total)) // display only: an error of the terminal must not end a run
		if last {
			_ = b.Finish()
		}
	}
}

func (t tally) text(rate float64) string {
	text := fmt.Sprintf("%s/s, %d errors", count(int64(rate)), t.errors)
	if t.p99 > 0 {
		text += ", p99 " + brief(t.p99)
	}
	return text
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
