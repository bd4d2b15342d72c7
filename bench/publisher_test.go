package main

import "testing"

func TestAWindowMovesOnlyWhenAllMembersHaveTheMessage(t *testing.T) {
	p := &publisher{}
	p.openWindow(3, 2)
	p.sequence = 3
	for _, step := range []struct{ seq, allowed uint32 }{{0, 3}, {1, 3}, {1, 3}, {2, 3}, {0, 5}, {2, 6}} {
		p.acknowledge(step.seq)
		if p.allowed != step.allowed {
			t.Fatalf("after a delivery of #%d: %d are allowed, want %d", step.seq, p.allowed, step.allowed)
		}
	}
}

func TestAnOpenLoopIsDueByTheClockAlone(t *testing.T) {
	s := &schedule{start: 1000, end: 1000 + 1e9, rate: 10, publishers: 2, own: []*publisher{{number: 0}, {number: 1}}}
	marked := 0
	wake, over := s.advance(1000+250e6, func(*publisher) { marked++ })
	if marked != 3 || over || wake != 1000+300e6 || s.own[0].allowed != 2 || s.own[1].allowed != 1 {
		t.Fatalf("got %d marked, wake %d, over %v, allowed %d and %d", marked, wake, over, s.own[0].allowed, s.own[1].allowed)
	}
	if _, over = s.advance(5e9, func(*publisher) { marked++ }); !over || marked != 10 {
		t.Fatalf("got %d messages in a second, over %v, want 10", marked, over)
	}
}
