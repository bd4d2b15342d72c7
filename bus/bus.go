package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"ringcast/loop"
)

// Groups is what the bus needs of the server: a loop.Feed.
type Groups interface {
	// PublishWait publishes to a group, once there is room; loop.ErrBusy if memory is short. Take returns the token with the
	// message.
	PublishWait(ctx context.Context, group string, message []byte, token any) error
	// Take appends the messages published to any group, by any publisher, and waits while there are none.
	Take(ctx context.Context, into []loop.Publication) ([]loop.Publication, error)
	// Close ends the feed: Take is called no more.
	Close()
}

// Config is what Start needs: one of Listen and Connect, and bounds, of which zero means the default.
type Config struct {
	Listen   string         // be a Channel server on host:port or unix:/path
	Listener net.Listener   // be a Channel server on this socket, which others have opened; Listen is not used then
	Connect  string         // be a client of the Channel server on host:port or unix:/path
	Allow    []netip.Prefix // addresses that may connect to Listen; none: all. A unix socket has its file's permissions instead
	Bridge   string         // the channel whose events are group messages. Default send_to_group
	Log      *slog.Logger   // default: discards

	FrameBytesMax    int           // largest frame. Default 10 MiB, as in PHP; over it: closed
	FramesBytesMax   int           // large frames of all clients that are being read or acted on; one is always allowed. Default 64 MiB; over it: they wait for each other
	FrameTimeout     time.Duration // for a frame to be complete, from its header, including that wait. Default 2 min; over it: closed
	ClientsMax       int           // Channel clients. Default 1,024; over it: refused
	SubscriptionsMax int           // channels and queues of one client, and names in one frame. Default 10,000; over it: closed
	QueueJobsMax     int           // jobs in one queue. Default 100,000; over it: the client that enqueues is closed
	QueueBytesMax    int           // jobs in all queues, bytes. Default 64 MiB; over it: the client that enqueues is closed
	OutboundBytesMax int           // bytes that wait for one client. Default 16 MiB; over it: closed
	OutboundsMax     int           // bytes that wait for all clients, a frame for many once; at least as much as for one. Default 128 MiB; over it: the client with the most bytes waiting is closed
	BufferBytesMax   int           // client mode: bytes that wait for the server, also while it is disconnected. Default 16 MiB; over it: refused

	landMax  time.Duration // see peer.settle; tests shorten it
	echoWait time.Duration // see remote.close; tests lengthen it
}

// BridgeDefault is the channel of the original.
const BridgeDefault = "send_to_group"

// landMaxDefault is longer than a message takes through the groups on the slowest machine.
const landMaxDefault = 10 * time.Second

func (cfg *Config) fill() error {
	if (cfg.Listen == "" && cfg.Listener == nil) == (cfg.Connect == "") {
		return errors.New("a bus is a Channel server or a client of one: name one address")
	}
	if len(cfg.Bridge) > nameBytesMax {
		return fmt.Errorf("the bridge's channel: a name of %d bytes, more than the %d allowed", len(cfg.Bridge), nameBytesMax)
	}
	if cfg.Bridge == "" {
		cfg.Bridge = BridgeDefault
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.landMax == 0 {
		cfg.landMax = landMaxDefault
	}
	if cfg.echoWait == 0 {
		cfg.echoWait = echoWaitDefault
	}
	if cfg.FrameTimeout == 0 {
		cfg.FrameTimeout = 2 * time.Minute
	}
	if cfg.FrameTimeout < 0 {
		return errors.New("a time must be positive")
	}
	for _, bound := range []struct {
		field *int
		value int
	}{
		{&cfg.FrameBytesMax, FrameBytesMaxDefault}, {&cfg.ClientsMax, 1024}, {&cfg.SubscriptionsMax, 10_000},
		{&cfg.QueueJobsMax, 100_000}, {&cfg.QueueBytesMax, 64 << 20}, {&cfg.OutboundBytesMax, 16 << 20},
		{&cfg.BufferBytesMax, 16 << 20}, {&cfg.FramesBytesMax, 64 << 20}, {&cfg.OutboundsMax, 128 << 20},
	} {
		if *bound.field == 0 {
			*bound.field = bound.value
		}
		if *bound.field < 1 {
			return errors.New("a bound must be positive")
		}
	}
	cfg.FramesBytesMax = max(cfg.FramesBytesMax, cfg.FrameBytesMax)
	cfg.OutboundsMax = max(cfg.OutboundsMax, cfg.OutboundBytesMax, cfg.FrameBytesMax)
	return nil
}

// Bus joins groups with one Channel server or with many Channel clients.
type Bus struct {
	groups Groups
	end    end
	count  *counters
	log    *slog.Logger
	stop   context.CancelFunc // of hear
	silent chan struct{}      // closed when hear has ended
}

// end is the side of the bridge that speaks the Channel protocol.
type end interface {
	addr() string
	// hear takes a message that was published to a group. It must not block.
	hear(p *loop.Publication)
	stats() Stats
	withdraw() // gives up the address, if there is one
	close(ctx context.Context) error
}

// Start begins to listen, or to connect. It owns groups until Close, which closes them; after an error they are closed too.
// A Channel server that cannot be reached is no error: connecting is tried again until Close.
func Start(cfg Config, groups Groups) (*Bus, error) {
	if err := cfg.fill(); err != nil {
		groups.Close()
		return nil, err
	}
	b := &Bus{groups: groups, count: &counters{}, log: cfg.Log, silent: make(chan struct{})}
	if cfg.Connect != "" {
		b.end = newRemote(cfg, groups, b.count)
	} else {
		s, err := newServer(cfg, groups, b.count)
		if err != nil {
			groups.Close()
			return nil, err
		}
		b.end = s
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go b.hear(ctx)
	return b, nil
}

// Addr is where the bus listens, with the real port where 0 was asked for, or what it connects to.
func (b *Bus) Addr() string { return b.end.addr() }

// Stats reads all counters. Any goroutine, at any time.
func (b *Bus) Stats() Stats {
	s := b.end.stats()
	s.Addr = b.end.addr()
	return s
}

// Withdraw gives up the address of a Channel server, so that another can have it; who is connected stays so. It does not wait
// for anybody.
func (b *Bus) Withdraw() { b.end.withdraw() }

// Close accepts nothing new, writes what was accepted and closes every connection; ctx bounds the writing, and its error
// says that not everything was written. Call it when the hub accepts no publish any more and has settled those that it has
// accepted, so that the last messages are written too.
func (b *Bus) Close(ctx context.Context) error {
	b.stop()
	<-b.silent
	b.groups.Close()
	return b.end.close(ctx)
}

// hear passes on what was published, until the bus is closed. While it is blocked, no publish is accepted.
func (b *Bus) hear(ctx context.Context) {
	defer close(b.silent)
	var batch []loop.Publication
	for {
		var err error
		batch, err = b.groups.Take(ctx, batch[:0])
		if err != nil {
			return
		}
		for i := range batch {
			b.hearOne(&batch[i])
		}
		clear(batch)
	}
}

func (b *Bus) hearOne(p *loop.Publication) {
	defer b.count.survive(b.log, func() {})
	b.end.hear(p)
}

// survive recovers from a panic: it is counted, logged with its stack, and then is called.
func (c *counters) survive(log *slog.Logger, then func()) {
	if p := recover(); p != nil {
		c.panics.Add(1)
		log.Error("panic in the bus", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		then()
	}
}

// network splits an address into a network and an address for package net.
func network(address string) (network, where string) {
	if path, unix := strings.CutPrefix(address, "unix:"); unix {
		return "unix", strings.TrimPrefix(path, "//")
	}
	return "tcp", address
}

// addrText is an address as it would be typed.
func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}
