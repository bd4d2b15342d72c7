package cluster

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"ringcast/loop"
)

// Hub is what the engine needs of this node's hub.
type Hub interface {
	NewInlet() (*loop.Inlet, error)
	homes
	everywhereHub
}

// homes is Hub but for the making of an inlet.
type homes interface {
	SetOrderer(o loop.Orderer, partition func(group string) int, partitions int)
	ClientName(number uint64) string                   // the name of a client of this node, as other nodes tell it
	ClientNumber(name string) (number uint64, is bool) // the client of this node that has a name
}

// Cluster is this node's part in the cluster. It is the Orderer of the homes of this node.
//
//	home ─Offer─► queue of the partition ─courier─► stream RC<p> (raft) ─republished─► reader ─► inlet ─► home
//
// Each partition has a courier and a reader, one goroutine each. Nothing that a home calls waits for them.
type Cluster struct {
	// Immutable after Open.
	config     Config
	log        *slog.Logger
	hub        homes
	in         inlet
	server     *server.Server // nil: others operate it
	store      *store         // nil: others operate it
	conn       *nats.Conn
	boot       string // of this process: no other process of the cluster has the same
	hash       func(group string) int
	parts      []*partition
	waitTicks  uint64
	everywhere *Everywhere
	farIn      *loop.Inlet                             // what everywhere tells the homes
	listNodes  func() []NodeStatus                     // who keeps the roster sets it, before anybody asks; nil: this node knows itself alone
	lose       func(partition int, offset uint64) bool // in tests: a republished message that does not arrive

	// Any goroutine.
	now      atomic.Uint64 // ticks since the start. The time for which something waits is counted in them: a process that was stopped refuses nothing for that time
	counters counters
	recalls  chan recall
	draining atomic.Bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once
}

// tick is the unit of all waiting here.
const tick = 200 * time.Millisecond

// soon is for how long who cannot wait is let wait: clients of Centrifuge give up after 5 s.
const soon = 4 * time.Second

// ConfigError is what the operator has to mend before this node can be one of the cluster.
type ConfigError struct{ What, Mend string }

// Error says what is wrong and how to mend it.
func (e *ConfigError) Error() string { return e.What + ": " + e.Mend }

// Open makes this node one of the cluster: it starts the embedded server or connects to those of others, waits until there is a majority and says meanwhile
// in the log what it waits for, learns what the cluster is or begins it, and becomes the orderer of the hub, whose loops must be running. When it returns this node has the
// place of all partitions. ctx ends the waiting only. An error is a *ConfigError if the operator has to mend something.
func Open(ctx context.Context, config Config, h Hub) (*Cluster, error) {
	in, err := h.NewInlet()
	if err != nil {
		return nil, fmt.Errorf("opening the way to the homes: %w", err)
	}
	c, err := open(ctx, config, h, in, nil)
	if err != nil {
		return nil, err
	}
	if err := c.join(h); err != nil {
		c.Close()
		return nil, fmt.Errorf("joining the other nodes: %w", err)
	}
	return c, nil
}

// join has the other nodes know of this one, and of who is there. What they say has an inlet of its own: it may be held up while a group is
// loud, and what is put in order is not then.
func (c *Cluster) join(h Hub) error {
	in, err := h.NewInlet()
	if err != nil {
		return err
	}
	e, err := newEverywhere(c.conn, c.config, c.boot, h, in)
	if err != nil {
		in.Close()
		return err
	}
	c.everywhere, c.farIn = e, in
	c.listNodes = func() []NodeStatus {
		nodes := []NodeStatus{{Name: c.config.Node, Up: true, Seen: time.Now()}}
		for _, f := range e.Fellows() {
			nodes = append(nodes, NodeStatus(f))
		}
		return nodes
	}
	return nil
}

// Everywhere is all nodes, as backends ask them. It ends with the cluster.
func (c *Cluster) Everywhere() *Everywhere { return c.everywhere }

// open is Open for an inlet of any kind, which it closes if it fails. lose: see Cluster.
func open(ctx context.Context, config Config, h homes, in inlet, lose func(partition int, offset uint64) bool) (made *Cluster, err error) {
	c := &Cluster{
		config: config, log: config.Log, hub: h, in: in, lose: lose,
		boot:      newBoot(),
		waitTicks: uint64((config.Wait + tick - 1) / tick),
		recalls:   make(chan recall, recallsMax),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.config.tick == 0 {
		c.config.tick = tick
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	born, err := c.beBorn(ctx)
	if err != nil {
		return nil, err
	}
	if c.hash, err = partitionHash(born.Key, config.Partitions); err != nil {
		return nil, err
	}
	anew := c.store != nil && c.store.mayHaveLost(config)
	for n := range config.Partitions {
		c.parts = append(c.parts, newPartition(c, n))
	}
	err = each(ctx, c.parts, func(ctx context.Context, p *partition) error {
		if err := c.haveStream(ctx, c.partitionStream(p)); err != nil {
			return err
		}
		if err := c.haveReplica(ctx, p.stream); err != nil {
			return err
		}
		return p.begin(ctx, anew)
	})
	if err != nil {
		return nil, err
	}
	if c.store != nil {
		if err := c.store.running(config); err != nil {
			return nil, err
		}
	}
	h.SetOrderer(c, c.hash, config.Partitions)
	return c, c.start(ctx)
}

// start runs all goroutines. Each partition is current when it begins: it reads from its tip on.
func (c *Cluster) start(ctx context.Context) error {
	for _, p := range c.parts {
		if err := c.in.Epoch(ctx, p.number, p.epoch(), p.tip.Load()); err != nil {
			return fmt.Errorf("telling the homes of partition %d: %w", p.number, err)
		}
	}
	if err := c.hearFast(); err != nil {
		return err
	}
	for _, p := range c.parts {
		c.run(p.read)
		c.run(p.carry)
	}
	for range recallWorkers {
		c.run(c.recallAll)
	}
	c.run(c.countTicks)
	c.run(c.watch)
	return nil
}

// run runs a goroutine that ends with the cluster.
func (c *Cluster) run(task func()) {
	c.tasks.Add(1)
	go func() {
		defer c.tasks.Done()
		task()
	}()
}

// countTicks makes the time of this package.
func (c *Cluster) countTicks() {
	ticker := time.NewTicker(c.config.tick)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
			c.now.Add(1)
			for _, p := range c.parts {
				select {
				case p.ticks <- struct{}{}:
				default: // it has the last one still before it
				}
			}
		}
	}
}

// Trouble says why this node should get no clients; empty: nothing. An election of leaders is no trouble.
func (c *Cluster) Trouble() string {
	if c.draining.Load() {
		return "the node is leaving the cluster"
	}
	if c.server != nil && !c.server.JetStreamEnabled() { // it has stopped itself, as it does when it cannot write
		return "this node's store cannot be written any more: free its disk, and restart the node"
	}
	silent, full := 0, 0
	for _, p := range c.parts {
		if p.unheard(c.now.Load()) > c.waitTicks {
			silent++
		}
		if at := p.fullAt.Load(); at != 0 && c.now.Load()-at <= c.waitTicks {
			full++
		}
	}
	switch {
	case silent*2 > len(c.parts):
		return fmt.Sprintf("%d of %d partitions have had no leader that this node can reach for %v: it is cut off from the majority", silent, len(c.parts), c.config.Wait)
	case full > 0:
		return fmt.Sprintf("the store of %d of %d partitions takes no more: free the disk, or raise --store-max", full, len(c.parts))
	}
	return ""
}

// Status is what this node knows of the cluster. Its lists are the caller's.
func (c *Cluster) Status() Status {
	n := &c.counters
	s := Status{
		Name: c.config.Name, Node: c.config.Node, Trouble: c.Trouble(),
		Nodes:   c.Nodes(),
		Offered: n.offered.Load(), Ordered: n.ordered.Load(), Refused: n.refused(), Repeated: n.repeated.Load(),
		HolesFilled: n.holesFilled.Load(), HoleMessages: n.holeMessages.Load(), HoleLost: n.holeLost.Load(),
		Recalls: n.recalls.Load(), RecallsFailed: n.recallsFailed.Load(), RecallsBusy: n.recallsBusy.Load(),
		Resends: n.resends.Load(), Batches: n.batches.Load(),
		FastSent: n.fastSent.Load(), FastHeard: n.fastHeard.Load(), FastLost: n.fastLost.Load(),
		SlowReads: n.slow.Load(), Strange: n.strange.Load(),
	}
	s.Ready = s.Trouble == ""
	for _, p := range c.parts {
		ps, bytes := p.status()
		s.Partitions = append(s.Partitions, ps)
		s.StoreBytes += bytes
	}
	return s
}

// Nodes is what this node knows of all nodes. The list is the caller's.
func (c *Cluster) Nodes() []NodeStatus {
	if c.listNodes != nil {
		return c.listNodes()
	}
	return []NodeStatus{{Name: c.config.Node, Up: true, Seen: time.Now()}}
}

// Drain hands to other nodes what this one leads, so that they wait for its end no longer than for a message. It is then ready no more. Publishes go on
// as before. ctx bounds how long it takes.
func (c *Cluster) Drain(ctx context.Context) {
	c.draining.Store(true)
	if c.server == nil || c.config.alone() {
		return
	}
	_ = each(ctx, c.parts, func(ctx context.Context, p *partition) error {
		if c.server.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, p.stream) {
			p.stepDown(ctx)
		}
		return nil
	})
}

// Close ends this node's part in the cluster, and returns when nothing of it runs any more. Offers that wait are not answered. It may be called
// more than once.
func (c *Cluster) Close() {
	c.once.Do(func() {
		c.draining.Store(true)
		if c.everywhere != nil {
			c.everywhere.Close()
			c.farIn.Close()
		}
		c.cancel()
		if c.in != nil {
			c.in.Close()
		}
		if c.conn != nil {
			c.conn.Close()
		}
		c.tasks.Wait()
		if c.server != nil {
			c.server.Shutdown()
			c.server.WaitForShutdown()
		}
		if c.store != nil {
			c.store.close()
		}
	})
}

// each does something for each partition, several at a time, and returns the first error. The others are then told to end.
func each(ctx context.Context, parts []*partition, do func(context.Context, *partition) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	places := make(chan struct{}, 4)
	var all sync.WaitGroup
	for _, p := range parts {
		places <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-places; all.Done() }()
			if ctx.Err() != nil {
				return
			}
			if err := do(ctx, p); err != nil {
				cancel(err)
			}
		}()
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// newBoot names a process.
func newBoot() string {
	var random [9]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// waiting says each 5 s what is waited for, until stop is called.
func (c *Cluster) waiting(what func() string) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				c.log.Info("the cluster is not ready yet", "waits_for", what())
			}
		}
	}()
	return func() { close(done) }
}

// alone says whether the cluster is this one node.
func (c *Config) alone() bool { return c.NATS == "" && len(c.Peers) == 0 }
