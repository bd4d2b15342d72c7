package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// session is what a verb knows of its server before it sends clients.
type session struct {
	target    target
	victim    *victim // nil: the server's processes cannot be seen
	blindness error   // why not
	run       string  // makes the groups of this run nobody else's
}

// start checks everything that can be checked before the first client is opened: flags, limits, whether anybody
// listens.
func (c *common) start(clients int) (*session, error) {
	t, err := parseTarget(c.URL, c.AllowRemote)
	if err != nil {
		return nil, err
	}
	if err := needDescriptors(clients); err != nil {
		return nil, err
	}
	if err := t.reach(); err != nil {
		return nil, err
	}
	var raw [4]byte
	rand.Read(raw[:]) // never fails
	s := &session{target: t, run: hex.EncodeToString(raw[:])}
	if s.victim, s.blindness = findVictim(t, c.PID); s.blindness != nil {
		s.victim = nil
	}
	return s, nil
}

func (s *session) groupName(group int) string { return fmt.Sprintf("bench-%s-%d", s.run, group) }

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

// rss is the server's resident memory in bytes, or zero when it cannot be seen.
func (s *session) rss() int64 {
	if s.victim == nil {
		return 0
	}
	size, err := s.victim.rss()
	if err != nil {
		s.victim, s.blindness = nil, err
	}
	return size
}
