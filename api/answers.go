package api

import (
	"net/http"
	"sync"
)

// answers is what a request with many commands was answered and its client has not taken. It is written beside the reading of commands:
// a client that sends everything before it reads anything would otherwise wait for us, and we for it.
//
// Owner: the goroutine that reads commands, and the one that runs run; what both use is under mu.
type answers struct {
	w   http.ResponseWriter
	out *http.ResponseController

	mu      sync.Mutex
	changed sync.Cond // something is to be written, or was
	waiting []byte
	over    bool // nothing more comes
	gone    bool // the client takes nothing more
	running bool
}

// answersBytesMax bounds what waits for a client that sends and does not read: no more than a body may have by default.
const answersBytesMax = 8 << 20

func newAnswers(w http.ResponseWriter) *answers {
	a := &answers{w: w, out: http.NewResponseController(w)}
	a.changed.L = &a.mu
	return a
}

// add has b written, and waits while too much waits already. false: the client takes nothing more.
func (a *answers) add(b []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.gone && len(a.waiting) > 0 && len(a.waiting)+len(b) > answersBytesMax {
		a.changed.Wait()
	}
	if a.gone {
		return false
	}
	a.waiting = append(a.waiting, b...)
	a.changed.Broadcast()
	return true
}

// begin has what is added be written from now on, until end.
func (a *answers) begin() {
	a.running = true
	go a.run()
}

// end returns when all is written, or the client takes nothing more.
func (a *answers) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	a.changed.Broadcast()
	for a.running {
		a.changed.Wait()
	}
}

func (a *answers) run() {
	var spare []byte
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() {
		a.running = false
		a.changed.Broadcast()
	}()
	for {
		for len(a.waiting) == 0 && !a.over {
			a.changed.Wait()
		}
		if len(a.waiting) == 0 {
			return
		}
		now := a.waiting
		a.waiting = spare[:0]
		a.changed.Broadcast()
		a.mu.Unlock()
		_, err := a.w.Write(now)
		if err == nil {
			err = a.out.Flush()
		}
		spare = now
		if cap(spare) > scratchBytesMax {
			spare = nil
		}
		a.mu.Lock()
		if err != nil {
			a.gone, a.waiting = true, nil
			return
		}
	}
}
