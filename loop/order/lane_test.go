package order

import (
	"runtime"
	"testing"
)

func TestLaneIsBoundedInBytesButTakesOneItemOfAnySize(t *testing.T) {
	l := newLane[int](8, 100)
	if !l.fits(5000) {
		t.Fatal("empty lane, 5,000 bytes: got refused, want taken")
	}
	l.send(1, 5000)
	if l.fits(1) {
		t.Fatal("lane over its bytes, 1 byte: got taken, want refused")
	}
	l.front()
	l.done(5000)
	l.send(2, 60)
	if l.fits(41) || !l.fits(40) {
		t.Fatal("lane with 60 of 100 bytes: want 40 taken and 41 refused")
	}
}

// The producer sleeps whenever the lane is full and is woken only by takeAwaited; a wake-up lost is a hang.
func TestLaneLosesNoWakeUp(t *testing.T) {
	l := newLane[int](2, 1<<20)
	const items = 100_000
	bell := make(chan struct{}, 1)
	go func() {
		for i := range items {
			for !l.fits(1) && !l.await(1) {
				<-bell
			}
			l.send(i, 1)
		}
	}()
	for want := 0; want < items; {
		v := l.front()
		if v == nil {
			runtime.Gosched()
			continue
		}
		if *v != want {
			t.Fatalf("got %d, want %d", *v, want)
		}
		l.done(1)
		want++
		if l.takeAwaited() {
			select {
			case bell <- struct{}{}:
			default:
			}
		}
	}
}
