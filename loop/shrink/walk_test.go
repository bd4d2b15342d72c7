package shrink

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Entries come and go between the steps of a walk, and the map moves to smaller ones: who stays comes once, and who is gone does not
// come.
func TestAWalkGivesEveryEntryThatStaysOnce(t *testing.T) {
	moved, gone := 0, 0
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var m Map[string, int]
		entries, stays := 1+rng.IntN(2000), map[string]bool{}
		for i := range entries {
			m.Put(fmt.Sprint(i), i)
			stays[fmt.Sprint(i)] = true
		}
		var w Walk[string, int]
		times := map[string]int{}
		for at := 0; ; at++ {
			key, v, there, more := w.Next(&m)
			if !more {
				break
			}
			if !there {
				gone++
				continue
			}
			if is, there := m.All()[key]; !there || v != is {
				t.Fatalf("seed %d: %s is %d, want %d, there: %v", seed, key, v, is, there)
			}
			times[key]++
			for range rng.IntN(2 + 30*int(seed%2)) {
				key := fmt.Sprint(rng.IntN(entries))
				m.Delete(key)
				delete(stays, key)
			}
			if rng.IntN(4) == 0 {
				m.Put(fmt.Sprint(entries+at), at)
			}
		}
		for key := range stays {
			if times[key] != 1 {
				t.Fatalf("seed %d: %s, which was there all the time, came %d times, want once", seed, key, times[key])
			}
		}
		if reflect.ValueOf(w.of).Pointer() != reflect.ValueOf(m.m).Pointer() {
			moved++
		}
		if _, _, _, more := w.Next(&m); more {
			t.Fatalf("seed %d: a walk that is over goes on", seed)
		}
	}
	if gone == 0 {
		t.Error("no walk has come to an entry that has gone")
	}
	if moved < 20 {
		t.Errorf("got %d walks in which a smaller map took the place of the other, want some", moved)
	}
	var none Walk[string, int]
	if _, _, _, more := none.Next(&Map[string, int]{}); more {
		t.Error("a walk over nothing has an entry")
	}
}
