package loop

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"

	"ringcast/dialect"
	"ringcast/loop/secure"
)

// Config is what Start needs to know. The zero value of a field means its default.
type Config struct {
	Listen         []string       // addresses of the WebSocket listeners: host:port, :port or [::]:port for both families, unix:///path; port 0 takes a free one. At most ListenMax. Default 127.0.0.1:0
	Sockets        []*os.File     // listening sockets that somebody else has opened, to use in place of Listen; Start takes them over
	TLSListen      []string       // addresses on which TLS is spoken, as Listen, and then Listen has no default; they need TLS
	TLSSockets     []*os.File     // likewise handed in, to use in place of TLSListen
	TLS            *tls.Config    // certificates, versions, and protocols of ALPN beside http/1.1, such as acme-tls/1. Boot clones it, and sets what it needs
	Reserve        int            // descriptors that the caller keeps for connections of its own
	Loops          int            // event loops, 1 to LoopsMax. Default 8, as the original's count
	HTTP           func(net.Conn) // goes on with a connection whose request is no WebSocket handshake; see below. nil: such a request gets 404
	Log            *slog.Logger   // default: discards
	TCPKeepAlive   time.Duration  // idle time after which the kernel probes a peer. Default 60 s; negative: off
	TCPUserTimeout time.Duration  // time after which the kernel gives up a peer that takes no bytes. Default 150 s; negative: off
	PortableSend   bool           // send through gnet's Conn.Write only, as on systems without the fast path

	Centrifuge bool            // speak the Centrifuge protocol too, at /connection/websocket
	Dialects   []dialect.Entry // spoken beside those of dialect.Table and after them in order; with them at most dialect.FormsMax
	Limits

	namesKey [16]byte // of the clients' names, see dialect.Names; Boot makes it
}

// Config.HTTP is called on a goroutine of its own, once clients are let in, with a connection from which nothing was read yet; a whole
// request head can be. It takes the connection over, and closes it. Until then the connection counts as any other, for its address
// too. Its RemoteAddr is the client's as trusted proxies have named it. It also has a method Forwarded, for further requests.

// LoopsMax bounds Config.Loops: package order has 64-bit sets of them.
const LoopsMax = dialect.SenderLoopsMax

// Server is a hub with a listener: gnet's engine with a shard on each of its loops.
//
// Owner: any goroutine.
type Server struct {
	hub     *Hub
	handler *handler
	berths  *berths
	plain   []net.Addr // on which it listens
	secure  []net.Addr // likewise, where TLS is spoken
	log     *slog.Logger
	reserve int // descriptors for the caller's own connections
	stop    sync.Once
	done    chan struct{} // closed when the engine has ended
	err     error         // why, if Stop was not called; set before done is closed
}

func (cfg *Config) fill() error {
	if len(cfg.Listen)+len(cfg.TLSListen)+len(cfg.Sockets)+len(cfg.TLSSockets) == 0 {
		cfg.Listen = []string{"127.0.0.1:0"}
	}
	setDefault(&cfg.Loops, 8)
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	setDefault(&cfg.TCPKeepAlive, 60*time.Second)
	setDefault(&cfg.TCPUserTimeout, 150*time.Second)
	if cfg.Loops < 1 || cfg.Loops > LoopsMax {
		return fmt.Errorf("loops: %d is not within 1 to %d", cfg.Loops, LoopsMax)
	}
	if n := max(len(cfg.Listen), len(cfg.Sockets)) + max(len(cfg.TLSListen), len(cfg.TLSSockets)); n > ListenMax {
		return fmt.Errorf("listen: %d addresses are more than %d", n, ListenMax)
	}
	_, _ = rand.Read(cfg.namesKey[:])                                                     // never fails
	cfg.Dialects = append([]dialect.Entry{dialect.Pusher(cfg.namesKey)}, cfg.Dialects...) // nobody speaks it where there are no apps
	if cfg.Centrifuge {
		cfg.Dialects = append([]dialect.Entry{dialect.Centrifuge(cfg.namesKey)}, cfg.Dialects...)
	}
	if n := len(dialect.Table) + len(cfg.Dialects); n > dialect.FormsMax {
		return fmt.Errorf("dialects: %d are more than %d", n, dialect.FormsMax)
	}
	if len(cfg.TLSListen)+len(cfg.TLSSockets) > 0 && cfg.TLS == nil {
		return errors.New("tls: an address on which TLS is spoken needs a certificate")
	}
	return cfg.Limits.fill()
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Start boots a server and lets clients in at once. The caller ends the server with Stop.
func Start(cfg Config) (*Server, error) {
	s, err := Boot(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.LetIn(); err != nil {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Stop(over, nil)
		return nil, err
	}
	return s, nil
}

// Boot listens, starts the loops and returns when all of them are ready; clients wait in the kernel's queue until LetIn. What the
// caller opens in between has descriptors, however many clients are waiting. The caller ends the server with Stop. The error
// says which setting is wrong, or why the server cannot listen or start.
func Boot(cfg Config) (*Server, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if _, err := descriptorsFree(cfg.Reserve); err != nil { // what comes next would fail too, without saying why
		return nil, err
	}
	listening, err := openListeners(&cfg)
	if err != nil {
		return nil, err
	}
	berths, err := newBerths(listening)
	if err != nil {
		listening.close()
		return nil, err
	}
	limitGo(cfg.MemoryMax)
	s := &Server{hub: newHub(cfg.Loops, *cfg.bounds(), cfg.Dialects...), berths: berths, log: cfg.Log, reserve: cfg.Reserve, done: make(chan struct{})}
	s.hub.handedIn, s.hub.names = listening.handedIn(), dialect.NewNames(cfg.namesKey)
	for _, l := range listening {
		if l.secure {
			s.secure = append(s.secure, l.addr)
		} else {
			s.plain = append(s.plain, l.addr)
		}
	}
	s.handler = newHandler(s.hub, berths, cfg.Log)
	if cfg.TLS != nil {
		s.handler.secure = secure.NewServer(cfg.TLS, runtime.GOMAXPROCS(0))
	}
	if cfg.HTTP != nil {
		s.handler.departures = newDepartures(s.hub, &cfg)
	}
	for i, shard := range s.hub.shards {
		shard.env = s.handler.env(i, cfg.PortableSend)
	}

	booted := s.handler.booted
	go func() {
		err := gnet.Rotate(s.handler, berths.addresses(), gnet.WithOptions(gnet.Options{NumEventLoop: cfg.Loops, Logger: s.handler}))
		if s.handler.lost != nil {
			err = s.handler.lost
		}
		s.ended(err)
	}()
	select {
	case <-booted:
	case <-s.done:
		return nil, fmt.Errorf("the event loops did not start: %w", s.err)
	}
	if err := s.boot(); err != nil {
		s.handler.engineStop()
		<-s.done
		if s.err != nil && !errors.Is(s.err, errEnded) {
			err = s.err // what the engine itself complains of is the reason
		}
		return nil, err
	}
	go s.keepTime()
	go s.keepMemory()
	go s.keepAccepting()
	w := newWatchdog(s.hub, s.log)
	w.learn()
	go s.keepWatch(w)
	return s, nil
}

// keepTime advances the hub's clock until the server has ended.
func (s *Server) keepTime() {
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.hub.beat()
		case <-s.done:
			return
		}
	}
}

// GiveUp closes the listening sockets and removes the files of unix sockets, as Stop does when it has come so far: for a caller that
// cannot wait for that. Clients are served on. Any goroutine, at any time, also more than once.
func (s *Server) GiveUp() { s.berths.giveUp(false) }

// Addrs are the addresses on which the server listens for plain connections, with the real port where 0 was configured.
func (s *Server) Addrs() []net.Addr { return s.plain }

// TLSAddrs are likewise those on which TLS is spoken.
func (s *Server) TLSAddrs() []net.Addr { return s.secure }

// Addr is the first of Addrs, or of TLSAddrs if there is none.
func (s *Server) Addr() net.Addr {
	if len(s.plain) == 0 {
		return s.secure[0]
	}
	return s.plain[0]
}

// Hub is the server's hub, for ports, snapshots and lists of clients.
func (s *Server) Hub() *Hub { return s.hub }

// Done is closed when the engine has ended, by Stop or by itself; Err then says which.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says why the engine ended by itself. It is nil before Done is closed, and if Stop ended the server.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}
