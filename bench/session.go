package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// session is what a verb knows about its server before it opens clients.
type session struct {
	name      string // the server, as results call it
	target    client.Target
	victim    *victim // nil: the server's processes cannot be seen
	blindness error   // why not
	status    *status // nil: the server has no status socket
	run       string  // makes the names of this run's groups unique
}

// start checks everything that can be checked before the first client is opened: flags, limits, whether a server listens.
// The caller ends the session.
func (c *common) start(clients int) (*session, error) {
	app, err := c.app(c.Dialect)
	if err != nil {
		return nil, err
	}
	t, err := c.target(c.Dialect, app)
	if err != nil {
		return nil, err
	}
	if err := client.NeedDescriptors(clients); err != nil {
		return nil, err
	}
	if err := reach(t); err != nil {
		return nil, err
	}
	var raw [4]byte
	rand.Read(raw[:]) // never fails
	s := &session{name: c.name, target: t, run: hex.EncodeToString(raw[:])}
	if s.name == "" {
		s.name = c.URL
	}
	if c.child != nil {
		s.victim = &victim{more: c.child.pids}
		s.victim.look()
	} else if s.victim, s.blindness = findVictim(t, c.PID); s.blindness != nil {
		if s.victim = nil; len(c.PID) > 0 {
			return nil, fmt.Errorf("--pid %v: %w", c.PID, s.blindness)
		}
	}
	s.status, err = openStatus(c.Status, s.victim)
	return s, err
}

// noteDialect puts the dialect and what else lies between TCP and messages among the flags of a run, unless it is as all had it once.
func (c *common) noteDialect(r *report.Run, t client.Target) {
	noteWire(r, t)
	if c.Dialect != client.Plain && c.Dialect != "" {
		r.Flags["dialect"] = string(c.Dialect)
	}
	if c.Dialect == client.Pusher {
		r.Flags["channels"] = c.Channels
	}
}

func (s *session) end() { s.status.close() }

func (s *session) groupName(group int) string { return s.groupsPrefix() + strconv.Itoa(group) }

func (s *session) groupsPrefix() string { return s.target.App.Channels + "bench-" + s.run + "-" }

// groupNumber is the group with a name; client.NoGroup if this run has none of it.
func (s *session) groupNumber(name string) int {
	digits, ok := strings.CutPrefix(name, s.groupsPrefix())
	if group, err := strconv.Atoi(digits); ok && err == nil && s.groupName(group) == name {
		return group
	}
	return client.NoGroup
}

// cpu is the server's CPU time so far, or zero when it cannot be seen; a server that ended meanwhile is noted.
func (s *session) cpu() cpuTime {
	if s.victim == nil {
		return cpuTime{}
	}
	used, err := s.victim.cpu()
	if err != nil {
		s.victim, s.blindness = nil, err
	}
	return used
}

// memory is the server's memory now, as before and after; nil when it cannot be seen.
func (s *session) memory() *report.Memory {
	if s.victim == nil {
		return nil
	}
	size, err := s.victim.rss()
	if err != nil {
		s.victim, s.blindness = nil, err
		return nil
	}
	m := &report.Memory{RSSBefore: size, RSSAfter: size}
	if heap := s.status.read(); heap != nil {
		m.HeapBefore, m.HeapAfter = heap.HeapBytes, heap.HeapBytes
	}
	return m
}

// grown is the growth of memory since before was read, divided by the number of clients.
func (s *session) grown(before *report.Memory, clients int64) *report.Memory {
	after := s.memory()
	if before == nil || after == nil {
		return nil
	}
	after.RSSBefore, after.HeapBefore = before.RSSBefore, before.HeapBefore
	if clients > 0 {
		after.RSSPerClient = float64(after.RSSAfter-after.RSSBefore) / float64(clients)
	}
	return after
}

// allocations is the number of heap objects that the server has allocated so far; negative if it is unknown.
func (s *session) allocations() int64 {
	if heap := s.status.read(); heap != nil {
		return heap.Allocations
	}
	return -1
}
