package cli

import "sync"

// handover is what a server has that the next one in its place needs: addresses, the control socket, the run dir. All of it is
// given up at once, in the opposite order: either when every client has been told of a stop, while their last bytes are
// still sent, or at the end, whichever comes first. The lock on the run dir was taken first, so it goes last, and whoever
// gets it finds everything else free.
//
// To give up waits for nobody: a successor waits for it.
//
// Owner: any goroutine.
type handover struct {
	once sync.Once

	mu   sync.Mutex
	give []func()
}

// has notes how one thing is given up.
func (o *handover) has(giveUp func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.give = append(o.give, giveUp)
}

// giveUp gives up everything; a second call waits for the first and does nothing.
func (o *handover) giveUp() {
	o.once.Do(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for i := len(o.give) - 1; i >= 0; i-- {
			o.give[i]()
		}
	})
}
