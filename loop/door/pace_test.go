package door

import (
	"sync"
	"testing"
	"time"
)

func TestHandshakesArePaced(t *testing.T) {
	var p Pace
	const second = int64(time.Second)
	admitted := func(from, to, every int64, perSecond int) (n int) {
		for now := from; now < to; now += every {
			if p.Allow(now, perSecond) {
				n++
			}
		}
		return n
	}
	if got := admitted(0, second, 10_000, 1000); got < 1000 || got > 1101 {
		t.Errorf("a storm of a second at 1,000 a second: got %d, want 1,000 and a burst of 100", got)
	}
	if got := admitted(5*second, 5*second+1, 1, 1000); got != 1 {
		t.Errorf("after a pause: got %d, want 1", got)
	}
	p = Pace{}
	if got := admitted(0, 10*second, second/10, 1); got != 10 {
		t.Errorf("ten seconds at one a second: got %d, want 10", got)
	}
	p = Pace{}
	var all sync.WaitGroup
	var mu sync.Mutex
	sum := 0
	for range 4 { // loops at once
		all.Go(func() {
			n := 0
			for range 1000 {
				if p.Allow(0, 1000) {
					n++
				}
			}
			mu.Lock()
			sum += n
			mu.Unlock()
		})
	}
	all.Wait()
	if sum != 100 {
		t.Errorf("at one moment on several loops: got %d, want the burst of 100", sum)
	}
}
