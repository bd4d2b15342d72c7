package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
)

// This file is the handshake, on a goroutine of its own. That exists only from when a whole hello has come, so who connects and says
// nothing costs none. What it does between two waits is crypto, which takes 0.1 to some milliseconds of a core: so many goroutines as
// there are places do that at one time, and who waits for the peer has no place.
//
//	loop         Begin ──────────┐ Feed ┐          ┌► Progress ┐ Feed ┐         ┌► Progress: done
//	goroutine                    └ reads the hello, writes, waits for more ┴ reads, is done

// Server makes connections.
//
// Owner: any goroutine.
type Server struct {
	config *tls.Config
	places chan struct{} // its capacity is how many do crypto at one time
}

// HTTP is the protocol that clients agree on by ALPN, beside those that the configuration names.
const HTTP = "http/1.1"

// NewServer makes a server of a configuration, which it clones, and in which it sets what this package needs. At most places handshakes
// do crypto at one time.
func NewServer(config *tls.Config, places int) *Server {
	config = config.Clone()
	others := slices.DeleteFunc(slices.Clone(config.NextProtos), func(p string) bool { return p == HTTP || p == "h2" })
	config.NextProtos = append([]string{HTTP}, others...)
	config.DynamicRecordSizingDisabled = true // batches are large, and a loop sends them whole
	return &Server{config: config, places: make(chan struct{}, places)}
}

// Begin begins a handshake, on a goroutine, with the bytes that have come, which it keeps: at least a whole hello. tell is called on that
// goroutine whenever there is something for Progress to give; it must not wait. The caller goes on with Feed, Progress and Abort, and
// calls nothing else before Progress has said that the handshake is done.
func (s *Server) Begin(hello []byte, tell func()) *Conn {
	c := &Conn{}
	c.hs = &handshake{server: s, tell: tell, in: hello, more: make(chan struct{}, 1), over: make(chan struct{})}
	c.tls = tls.Server(&c.pipe, s.config)
	go c.hs.run(c.tls)
	return c
}

// handshake is one that is under way.
//
// Owner: the goroutine; what is behind mu also the loop.
type handshake struct {
	server *Server
	tell   func()
	more   chan struct{} // gets a token when something was fed
	over   chan struct{} // closed by Abort
	left   int           // bytes of the record that is being read
	placed bool

	mu      sync.Mutex
	in      []byte // fed, and not read
	out     []byte // written, and not taken
	aborted bool
	done    bool
	err     error
	version uint16
	other   bool // another protocol than HTTP was agreed on
}

var errAborted = errors.New("secure: the handshake was given up")

// Panicked is the error of a handshake in which something has panicked, crypto/tls or who gives certificates.
type Panicked struct {
	Value any    // of the panic
	Stack string // of the handshake's goroutine
}

// Error says what it was, without the stack.
func (p *Panicked) Error() string { return fmt.Sprint("secure: a panic: ", p.Value) }

func (h *handshake) run(c *tls.Conn) {
	err := h.shake(c)
	h.mu.Lock()
	h.done, h.err = true, err
	if err == nil {
		state := c.ConnectionState()
		h.version, h.other = state.Version, state.NegotiatedProtocol != "" && state.NegotiatedProtocol != HTTP
		slim(c)
	}
	h.mu.Unlock()
	h.tell()
}

// shake is crypto/tls's part. If that panics, this connection alone has failed.
func (h *handshake) shake(c *tls.Conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Panicked{Value: p, Stack: string(debug.Stack())}
		}
		h.leave()
	}()
	if err := h.enter(); err != nil {
		return err
	}
	return c.Handshake()
}

// enter waits for a place.
func (h *handshake) enter() error {
	select {
	case <-h.over:
		return errAborted
	default:
	}
	select {
	case h.server.places <- struct{}{}:
		h.placed = true
		return nil
	case <-h.over:
		return errAborted
	}
}

func (h *handshake) leave() {
	if h.placed {
		h.placed = false
		<-h.server.places
	}
}

// read gives crypto/tls no byte beyond the record that it is reading, of which all has come: so nothing is left in its buffers when the
// handshake is done.
func (h *handshake) read(b []byte) (int, error) {
	for {
		h.mu.Lock()
		if h.left == 0 {
			if n := recordOf(h.in); n > 0 && n <= len(h.in) {
				h.left = n
			}
		}
		n := copy(b, h.in[:h.left])
		h.in, h.left = h.in[n:], h.left-n
		tell := len(h.out) > 0
		h.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		h.leave()
		if tell {
			h.tell()
		}
		select {
		case <-h.more:
		case <-h.over:
			return 0, errAborted
		}
		if err := h.enter(); err != nil {
			return 0, err
		}
	}
}

func (h *handshake) write(b []byte) {
	h.mu.Lock()
	h.out = append(h.out, b...)
	h.mu.Unlock()
}

// Feed hands in what has come during the handshake; p is copied. fed is how many bytes wait.
func (c *Conn) Feed(p []byte) (fed int) {
	h := c.hs
	h.mu.Lock()
	h.in = append(h.in, p...)
	fed = len(h.in)
	h.mu.Unlock()
	select {
	case h.more <- struct{}{}:
	default: // there is one already
	}
	return fed
}

// Progress gives what is to be sent, and says whether the handshake is done. If it is, its goroutine has ended; with an error it has
// failed, and the peer is told by what is to be sent.
func (c *Conn) Progress() (out []byte, done bool, err error) {
	h := c.hs
	if h == nil {
		return nil, true, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out, h.out = h.out, nil
	if h.done {
		c.hs, c.held, c.version, c.other = nil, clone(h.in), h.version, h.other
	}
	return out, h.done, h.err
}

// Abort gives the handshake up. Its goroutine ends soon, and Progress says so.
func (c *Conn) Abort() {
	if h := c.hs; h != nil && !h.aborted {
		h.aborted = true
		close(h.over)
	}
}
