package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"ringcast/loop"
)

// This file finds the groups with the most members, or the most messages a second. Homes number the messages of each group anyway, so a
// rate is the difference of two numbers that were read at two times, and nothing is counted for it.

// rates knows the numbers that were read last, while somebody asks.
//
// Owner: who holds the token; readings are dropped by a timer when nobody has asked for a while, which takes the lock.
type rates struct {
	hub   Watched
	token chan struct{} // one walk at a time

	mu       sync.Mutex
	readings [2]reading // the older, the newer
	forget   *time.Timer
}

// reading is the numbers of the newest messages of groups at a time. Nobody changes it.
type reading struct {
	at      time.Time
	offsets map[string]uint64
}

const (
	ratedMax   = 100_000          // groups of which a number is remembered: some 10 MB, while somebody looks
	ratesApart = time.Second      // a rate over less than that says little
	ratesKept  = 30 * time.Second // then they are forgotten, and the next that asks learns of no rates
)

func newRates(hub Watched) *rates {
	return &rates{hub: hub, token: make(chan struct{}, 1)}
}

// groupsAnswer is the first of all groups that a pattern matches.
type groupsAnswer struct {
	Rows    []groupRow `json:"rows"`
	Groups  int        `json:"groups"`  // that the pattern matches
	Members int        `json:"members"` // of all of these
	Rated   int        `json:"rated"`   // of these, those whose rate is known
	Took    int64      `json:"took_ms"` // to look at all groups; who asks again should wait for much longer
}

// groupRow is a group, with its rate.
type groupRow struct {
	loop.GroupInfo
	Rate *float64 `json:"rate"` // messages a second since the last time that somebody asked; null: not known
}

// top is the first groups by members or by rate.
func (s *rates) top(ctx context.Context, match string, byRate bool, most int) (a groupsAnswer, err error) {
	select {
	case s.token <- struct{}{}:
		defer func() { <-s.token }()
	case <-ctx.Done():
		return a, ctx.Err()
	}
	began := time.Now()
	before := s.before(began)
	next := reading{began, map[string]uint64{}}
	above := func(x, y *groupRow) bool {
		if xr, yr := x.rate(), y.rate(); byRate && xr != yr {
			return xr > yr
		}
		return x.Members > y.Members || x.Members == y.Members && x.Name < y.Name
	}
	err = s.hub.EachGroup(ctx, "", func(slice []loop.GroupInfo) bool { // all: the next may ask for others
		for _, g := range slice {
			if len(next.offsets) < ratedMax {
				next.offsets[g.Name] = g.Offset
			}
			if match != "" && !loop.Matches(match, g.Name) {
				continue
			}
			row := groupRow{GroupInfo: g}
			if was, known := before.offsets[g.Name]; known && g.Offset >= was {
				rate := float64(g.Offset-was) / began.Sub(before.at).Seconds()
				row.Rate = &rate
				a.Rated++
			}
			a.Groups++
			a.Members += g.Members
			a.Rows = insertGroup(a.Rows, row, most, above)
		}
		return true
	})
	if err != nil {
		return a, err
	}
	s.keep(next)
	a.Took = time.Since(began).Milliseconds()
	return a, nil
}

func (g *groupRow) rate() float64 {
	if g.Rate == nil {
		return 0
	}
	return *g.Rate
}

// insertGroup inserts a row into the first so far, of which there are at most so many.
func insertGroup(top []groupRow, row groupRow, most int, above func(x, y *groupRow) bool) []groupRow {
	if len(top) >= most && (most == 0 || !above(&row, &top[most-1])) {
		return top
	}
	at, _ := slices.BinarySearchFunc(top, row, func(x, y groupRow) int {
		if above(&x, &y) {
			return -1
		}
		return 1
	})
	if len(top) < most {
		top = append(top, groupRow{})
	}
	copy(top[at+1:], top[at:])
	top[at] = row
	return top
}

// before is the newest reading that is old enough for a rate.
func (s *rates) before(now time.Time) reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer := s.readings[1]; now.Sub(newer.at) >= ratesApart {
		return newer
	}
	return s.readings[0]
}

// keep keeps a reading, until nobody has asked for a while.
func (s *rates) keep(next reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.at.Sub(s.readings[1].at) >= ratesApart {
		s.readings[0] = s.readings[1]
		s.readings[1] = next
	}
	if s.forget != nil {
		s.forget.Stop()
	}
	s.forget = time.AfterFunc(ratesKept, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.readings = [2]reading{}
	})
}
