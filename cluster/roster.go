package cluster

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// This file is which other nodes there are. Each says each second that it is there, over core NATS. One that is not heard of for three
// seconds is gone, and with it all that it has told of itself; one that is heard of again arrives anew. A node is a process: one that was
// restarted is another, by its boot, though its name is the same.
//
// Time is counted in ticks. So a process that was stopped finds nobody gone when it goes on, before it has heard what was said meanwhile.

const (
	beatSubject   = "rcq.beat"
	rosterTick    = 200 * time.Millisecond
	beatTicks     = 5  // between two beats
	goneTicks     = 15 // without one, and a node is gone
	rosterMax     = 256
	rosterNames   = 256 // nodes that have gone and are remembered by name
	beatBytesMax  = 1 << 10
	doubleLogged  = 60 * beatTicks // ticks between two warnings of one name twice
	rosterVersion = 1              // of what nodes say to each other here; others are not understood
)

// Fellow is another node of the cluster, as this one has heard of it.
type Fellow struct {
	Name string
	Up   bool      // heard of within the last 3 s
	Seen time.Time // when it was last heard of
}

// fellow is a node that is there.
type fellow struct {
	// Immutable.
	name, boot string
	number     uint16 // by which this process knows it: no two have the same until all that one has told is forgotten

	// Under the roster's lock.
	since  uint64 // the tick at which it arrived
	heard  uint64 // likewise
	seen   time.Time
	behind bool // it is to be told of revocations
	wait   int  // beats until it is told again, where that failed
	failed int  // times in a row
}

// beat is what a node says each second.
type beat struct {
	V    int    `json:"v"`
	Name string `json:"name"`
	Boot string `json:"boot"`
	Gone bool   `json:"gone,omitempty"` // it says so before it ends, and is gone at once
}

// roster is the nodes that are there but for this one.
//
// Owner: any goroutine.
type roster struct {
	// Immutable.
	conn    *nats.Conn
	self    beat
	log     *slog.Logger
	changed func(f *fellow, arrived bool) // called in order, with the lock: it must be quick, and call nothing of the roster

	mu      sync.Mutex
	now     uint64 // ticks
	nodes   map[string]*fellow
	numbers map[uint16]bool // that are taken
	last    uint16
	gone    map[string]time.Time // by name: when nodes that are gone were last heard of
	refused uint64               // nodes that were not taken, as there were rosterMax
	warned  uint64               // the tick; 0: never
}

func newRoster(conn *nats.Conn, name, boot string, log *slog.Logger, changed func(f *fellow, arrived bool)) *roster {
	return &roster{
		conn: conn, self: beat{V: rosterVersion, Name: name, Boot: boot}, log: log, changed: changed,
		nodes: map[string]*fellow{}, numbers: map[uint16]bool{}, gone: map[string]time.Time{},
	}
}

// say says that this node is there, or is going.
func (r *roster) say(gone bool) {
	b := r.self
	b.Gone = gone
	text, _ := json.Marshal(b)
	_ = r.conn.Publish(beatSubject, text) // what cannot be sent is missed by nobody: the next one says it too
}

// tick counts one, says that this node is there when it is time, and parts with those that were silent for too long.
func (r *roster) tick() {
	r.mu.Lock()
	says := r.now%beatTicks == 0
	r.now++
	for _, f := range r.nodes {
		if r.now-f.heard > goneTicks {
			r.part(f)
		}
	}
	r.mu.Unlock()
	if says {
		r.say(false)
	}
}

// part parts with a node. The lock is held.
func (r *roster) part(f *fellow) {
	delete(r.nodes, f.boot)
	if len(r.gone) >= rosterNames {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(r.gone)), func(a, b string) int { return r.gone[a].Compare(r.gone[b]) })
		delete(r.gone, oldest)
	}
	r.gone[f.name] = f.seen
	r.changed(f, false)
	r.log.Info("a node of the cluster is gone", "node", f.name, "boot", f.boot)
}

// hear takes what another node has said.
func (r *roster) hear(m *nats.Msg) {
	var b beat
	if len(m.Data) > beatBytesMax || json.Unmarshal(m.Data, &b) != nil || b.V != rosterVersion || b.Boot == "" || b.Boot == r.self.Boot {
		return
	}
	if r.take(&b) {
		r.say(false) // so it need not wait for the next beat to know of this node
	}
}

// take has a beat count. arrived: its node was not there before.
func (r *roster) take(b *beat) (arrived bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.nodes[b.Boot]
	switch {
	case b.Gone:
		if f != nil {
			r.part(f)
		}
		return false
	case f == nil && len(r.nodes) >= rosterMax:
		r.refused++
		return false
	case f == nil:
		f = &fellow{name: b.Name, boot: b.Boot, number: r.number(), since: r.now, behind: true}
		r.nodes[b.Boot] = f
		delete(r.gone, b.Name)
		r.changed(f, true)
		r.log.Info("a node of the cluster is there", "node", f.name, "boot", f.boot)
		arrived = true
	}
	f.heard, f.seen = r.now, time.Now()
	r.warn(f)
	return arrived
}

// warn says that two nodes have one name, which is the operator's fault: that one has ended without a word, and is not yet gone, is none.
func (r *roster) warn(f *fellow) {
	if r.now-f.since <= goneTicks || r.warned != 0 && r.now-r.warned < doubleLogged {
		return
	}
	twice := f.name == r.self.Name
	for _, other := range r.nodes {
		twice = twice || other != f && other.name == f.name && r.now-other.heard <= beatTicks && r.now-other.since > goneTicks
	}
	if twice {
		r.warned = r.now
		r.log.Warn("two nodes of the cluster have the same name; give each its own by --cluster-node", "node", f.name)
	}
}

// number is one that is free. rosterMax nodes, and those whose members are just being forgotten, are much fewer than there are.
func (r *roster) number() uint16 {
	for {
		if r.last++; r.last != 0 && !r.numbers[r.last] {
			r.numbers[r.last] = true
			return r.last
		}
	}
}

// release gives a number back, when nothing is known any more of the node that had it.
func (r *roster) release(number uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.numbers, number)
}

// boots is the nodes that are there, by their boots.
func (r *roster) boots() (boots []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.nodes))
}

// has says whether a node is there.
func (r *roster) has(boot string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nodes[boot] != nil
}

// fellows is the nodes that are known, by name, those that are gone too.
func (r *roster) fellows() (all []Fellow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.nodes {
		all = append(all, Fellow{f.name, true, f.seen})
	}
	for name, seen := range r.gone {
		all = append(all, Fellow{name, false, seen})
	}
	slices.SortFunc(all, func(a, b Fellow) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// missed notes that nodes have to be told of revocations.
func (r *roster) missed(boots []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, boot := range boots {
		if f := r.nodes[boot]; f != nil {
			f.behind = true
		}
	}
}

// toTeach is the nodes that are to be told of revocations now. Their notes are cleared: who fails sets them again.
func (r *roster) toTeach() (boots []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for boot, f := range r.nodes {
		if !f.behind {
			continue
		}
		if f.wait > 0 {
			f.wait--
			continue
		}
		f.behind = false
		boots = append(boots, boot)
	}
	return boots
}

// taught notes whether a node was told. One that could not be is told again, ever later, but each minute.
func (r *roster) taught(boot string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.nodes[boot]
	switch {
	case f == nil:
	case ok:
		f.failed, f.wait = 0, 0
	default:
		f.behind, f.wait = true, min(1<<min(f.failed, 6), 60)-1
		f.failed++
	}
}
