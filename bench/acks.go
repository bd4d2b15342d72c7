package main

import (
	"sync"

	"ringcast/bench/client"
)

// ackBox passes the acknowledgements of helpers to a crew. Runs with helpers have one per thread, others none. Any
// goroutine.
type ackBox struct {
	crew *client.Generator // is woken
	mu   sync.Mutex
	acks []ackFrom
}

// ackFrom is what a helper acknowledged, or that a member there was cut off.
type ackFrom struct {
	process int
	floors  []ack
	saidAt  int64
	cut     bool
}

// leave stores what a helper acknowledged, and wakes the crew.
func (b *ackBox) leave(a ackFrom) {
	b.mu.Lock()
	b.acks = append(b.acks, a)
	b.mu.Unlock()
	b.crew.Ring()
}

// take returns what was left since the last time.
func (b *ackBox) take() []ackFrom {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	acks := b.acks
	b.acks = nil
	return acks
}
