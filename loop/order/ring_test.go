package order

import (
	"runtime"
	"testing"
)

func TestRingKeepsOrderAndRefusesWhenFull(t *testing.T) {
	var r ring[int]
	r.init(4)
	for i := range 4 {
		if !r.push(i) {
			t.Fatalf("push %d: got refused, want accepted", i)
		}
	}
	if r.push(4) {
		t.Fatal("push into a full ring: got accepted, want refused")
	}
	for i := range 4 {
		v := r.front()
		if v == nil || *v != i {
			t.Fatalf("front: got %v, want %d", v, i)
		}
		r.pop()
	}
	if v := r.front(); v != nil {
		t.Fatalf("front of an empty ring: got %d, want none", *v)
	}
}

func TestRingForgetsWhatWasPopped(t *testing.T) {
	var r ring[*int]
	r.init(2)
	r.push(new(int))
	r.front()
	r.pop()
	for i, v := range r.slots {
		if v != nil {
			t.Errorf("slot %d: got a pointer, want nil: the ring keeps popped memory alive", i)
		}
	}
}

// Two goroutines at full speed through a ring so small that every push and pop meets its end; positions begin just
// below the point where 64 bits wrap around.
func TestRingUnderStressWithWrapAround(t *testing.T) {
	for _, slots := range []int{1, 2, 8, 256} {
		var r ring[int]
		r.init(slots)
		start := ^uint64(0) - 1000
		r.head.Store(start)
		r.tail.Store(start)
		r.headSeen, r.tailSeen = start, start
		const items = 200_000
		go func() {
			for i := 0; i < items; {
				if r.push(i) {
					i++
				} else {
					runtime.Gosched()
				}
			}
		}()
		for want := 0; want < items; {
			v := r.front()
			if v == nil {
				runtime.Gosched()
				continue
			}
			if *v != want {
				t.Fatalf("slots %d: got %d, want %d", slots, *v, want)
			}
			if n := r.len(); n < 1 || n > slots {
				t.Fatalf("slots %d: len got %d, want 1 to %d", slots, n, slots)
			}
			r.pop()
			want++
		}
	}
}

func BenchmarkRing(b *testing.B) {
	var r ring[Request[anyPart, *anyClient]]
	r.init(256)
	b.ReportAllocs()
	for b.Loop() {
		r.push(Request[anyPart, *anyClient]{})
		r.front()
		r.pop()
	}
}
