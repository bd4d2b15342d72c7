package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"ringcast/loop"
)

// server is a Channel server: what its clients publish to a channel goes to the channel's subscribers, what they enqueue
// to one of the queue's watchers. Each client has two goroutines, one that reads and acts and one that writes.
type server struct {
	// Immutable.
	cfg      Config
	bridge   name
	groups   Groups
	count    *counters
	log      *slog.Logger
	listener net.Listener

	accepting chan struct{}       // closed when no more connections are accepted
	serving   sync.WaitGroup      // goroutines of peers
	outbounds atomic.Int64        // bytes that the outboxes of all peers hold
	frames    *semaphore.Weighted // bytes of large frames, from their header until they have been acted on

	mu            sync.Mutex // of all that follows, and of the fields of peers, channels and queues that say so
	ending        bool
	peers         map[*peer]struct{}
	channels      map[string]*channel
	queues        map[string]*queue
	subscriptions int
	jobs          int
	jobBytes      int
}

func newServer(cfg Config, groups Groups, count *counters) (*server, error) {
	listener := cfg.Listener
	if listener == nil {
		var err error
		if listener, err = listen(cfg.Listen); err != nil {
			return nil, err
		}
	}
	s := &server{
		cfg: cfg, bridge: stringName(cfg.Bridge), groups: groups, count: count, log: cfg.Log, listener: listener,
		accepting: make(chan struct{}), frames: semaphore.NewWeighted(int64(cfg.FramesBytesMax)),
		peers: map[*peer]struct{}{}, channels: map[string]*channel{}, queues: map[string]*queue{},
	}
	go s.accept()
	return s, nil
}

// listen opens the address. A socket file on which nobody listens was left by a process that could not remove it.
func listen(address string) (net.Listener, error) {
	kind, where := network(address)
	listener, err := net.Listen(kind, where)
	if kind != "unix" || !errors.Is(err, syscall.EADDRINUSE) {
		return listener, err
	}
	info, statErr := os.Lstat(where)
	if statErr != nil || info.Mode()&os.ModeSocket == 0 {
		return nil, err
	}
	conn, dialErr := net.DialTimeout(kind, where, time.Second)
	if dialErr == nil {
		conn.Close()
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(where); err != nil {
		return nil, err
	}
	return net.Listen(kind, where)
}

func (s *server) addr() string { return addrText(s.listener.Addr()) }

// accept accepts connections until the listener is closed. It goes on after an error, the common one being that there are no
// descriptors left.
func (s *server) accept() {
	defer close(s.accepting)
	failing := false
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if s.count.acceptErrors.Add(1); !failing {
				s.log.Warn("Channel clients cannot be accepted; tried again until they can, which is not logged", "err", err)
			}
			failing = true
			time.Sleep(acceptRetry)
			continue
		}
		failing = false
		s.admit(conn)
	}
}

// acceptRetry is short for a client that waits, and long enough not to keep a CPU busy.
const acceptRetry = 50 * time.Millisecond

func (s *server) admit(conn net.Conn) {
	if !s.allowed(conn.RemoteAddr()) {
		s.count.away[awayAddress].Add(1)
		s.log.Warn("a Channel client was refused: its address is not in --channel-allow", "remote", conn.RemoteAddr().String())
		conn.Close()
		return
	}
	p := newPeer(s, conn)
	s.mu.Lock()
	full, ending := len(s.peers) >= s.cfg.ClientsMax, s.ending
	if !full && !ending {
		s.peers[p] = struct{}{}
		s.serving.Add(2)
		go p.read()
		go p.write()
	}
	s.mu.Unlock()
	switch {
	case ending: // nobody is let in any more; the address goes next
		conn.Close()
	case full:
		s.count.away[awayClients].Add(1)
		s.log.Warn("a Channel client was refused: --channel-clients-max is reached", "remote", p.where, "most", s.cfg.ClientsMax)
		conn.Close()
	default:
		s.log.Debug("a Channel client has connected", "remote", p.where)
	}
}

func (s *server) allowed(remote net.Addr) bool {
	tcp, is := remote.(*net.TCPAddr)
	if !is || len(s.cfg.Allow) == 0 {
		return true
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, network := range s.cfg.Allow {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

// relieve makes room for a parcel in one more outbox: while all outboxes together hold too much for it, it closes the client
// with the most bytes waiting. Under the lock.
func (s *server) relieve(x *parcel) {
	for s.outbounds.Load() > 0 && s.outbounds.Load()+int64(x.more()) > int64(s.cfg.OutboundsMax) {
		var slowest *peer
		most := 0
		for p := range s.peers {
			if waiting := p.out.waiting(); waiting > most {
				slowest, most = p, waiting
			}
		}
		if slowest == nil {
			return // it has been written in the meantime
		}
		slowest.fail(closedOutbounds, "--channel-outbounds-max is reached, and the most bytes wait for this client")
		slowest.cut() // even if another goroutine is about to fail it
	}
}

// hear sends a message of a group to the subscribers of the bridge: the event of a peer as the peer sent it, everything else
// in the form in which the workers of the original send it.
func (s *server) hear(p *loop.Publication) {
	said, is := p.Token.(*bridged)
	if is {
		defer said.settled()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[s.cfg.Bridge] == nil {
		return
	}
	if is {
		s.publish(s.bridge.key, said.frame)
		return
	}
	frame := eventFrame(verbEvent, s.bridge, groupData(p.Group, p.Message, ""))
	if len(frame) > s.cfg.FrameBytesMax {
		// PHP would take it for an attack and end its link.
		s.count.refuse(s.log, refusedTooBig, 1, "group", shown([]byte(p.Group)), "bytes", len(p.Message))
		return
	}
	s.publish(s.bridge.key, frame)
}

func (s *server) stats() Stats {
	st := s.count.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Mode, st.Bridge = "server", s.cfg.Bridge
	st.Clients, st.Subscriptions = len(s.peers), s.subscriptions
	st.Channels, st.Queues, st.Jobs, st.JobBytes = len(s.channels), len(s.queues), s.jobs, s.jobBytes
	for p := range s.peers {
		st.WaitingBytes += p.out.waiting()
	}
	return st
}

// withdraw closes the listener. When it returns no peer is added any more.
func (s *server) withdraw() {
	s.listener.Close() // again, where close follows: that does nothing
	<-s.accepting
}

// close makes every peer stop reading, writes what waits for it, and closes those that have not received it when ctx is done.
func (s *server) close(ctx context.Context) error {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.withdraw()
	s.each((*peer).leave)
	gone := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		s.each((*peer).cut)
		<-gone
		return fmt.Errorf("some Channel clients had not received everything: %w", ctx.Err())
	}
}

func (s *server) each(f func(*peer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.peers {
		f(p)
	}
}

// Exposed says whether other machines can reach a server's address, as returned by Addr.
func Exposed(address string) bool {
	kind, where := network(address)
	if kind == "unix" {
		return false
	}
	at, err := netip.ParseAddrPort(where)
	return err != nil || !at.Addr().IsLoopback()
}
