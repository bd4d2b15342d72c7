// Package shrink has a map that gives memory back. Go's maps never shrink: a server that once had a million groups would keep
// the memory of their table for ever.
//
// The rule of the package: it knows nothing of what it keeps.
package shrink

import "reflect"

// Map is a map in whose place comes a smaller one as it empties. The zero value is an empty map, ready for use.
//
// No step is long, however many entries there are: Go's maps grow in parts of at most 1,024 slots, and the smaller map is filled
// by a few entries with each Put and Delete. With a million entries a Delete takes 0.4 ms at most, and took 70 to 100 ms
// when it moved all of them at once (BenchmarkAMillionComeAndGo).
//
// Owner: that of what it belongs to; one goroutine at a time.
type Map[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
	next *next[K, V]
}

// next is the map that will be in the place of another one. Until it has all entries it is written only: so a Get is one look-up
// in one map at all times, and needs no copy of a key that is string(bytes).
type next[K comparable, V any] struct {
	m    map[K]V
	peak int
	walk reflect.MapIter // over the other map; a range cannot pause, and one that begins anew would look through all the gaps again
	key  K               // what the walk is at
	v    V
}

// Get is the value of key, zero where there is none. With string(bytes) as the key it allocates nothing.
func (m *Map[K, V]) Get(key K) V { return m.m[key] }

// Len is the number of entries.
func (m *Map[K, V]) Len() int { return len(m.m) }

// All is the map itself, to be read and not written. It is good until the next Put or Delete.
func (m *Map[K, V]) All() map[K]V { return m.m }

// Put sets the value of key.
func (m *Map[K, V]) Put(key K, v V) {
	if m.m == nil {
		m.m = map[K]V{}
	}
	m.m[key] = v
	m.peak = max(m.peak, len(m.m))
	if m.next != nil {
		m.next.put(key, v)
		m.move()
	}
}

// Delete takes an entry out, if there is one. When there are only a quarter as many as at the peak, they begin to move to a smaller
// map.
func (m *Map[K, V]) Delete(key K) {
	delete(m.m, key)
	if m.next != nil {
		delete(m.next.m, key)
		m.move()
	} else if m.peak >= keptMin && len(m.m) <= m.peak/4 {
		m.next = &next[K, V]{m: map[K]V{}}
		m.next.walk.Reset(reflect.ValueOf(m.m))
		m.move()
	}
}

// keptMin is the peak, in entries, below which a map is kept as it is.
const keptMin = 64

// move copies some entries to the smaller map, and puts that one in m's place when it has all.
func (m *Map[K, V]) move() {
	n := m.next
	for range movedAtOnce {
		if !n.walk.Next() {
			*m = Map[K, V]{m: n.m, peak: n.peak}
			return
		}
		reflect.ValueOf(&n.key).Elem().SetIterKey(&n.walk)
		reflect.ValueOf(&n.v).Elem().SetIterValue(&n.walk)
		n.put(n.key, n.v)
	}
}

// movedAtOnce is the entries that one step copies: with 2 all have moved before half of them can have gone, so the walk has no long
// gaps to look through. With 8, 512 deletions in a row took 12 ms at worst, as the parts of the smaller map grow at about one time;
// with 2 they take 2.4 ms (BenchmarkAMillionGroupsComeAndExpire of package order).
const movedAtOnce = 2

func (n *next[K, V]) put(key K, v V) {
	n.m[key] = v
	n.peak = max(n.peak, len(n.m))
}
