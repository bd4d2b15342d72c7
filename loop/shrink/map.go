// Package shrink has a map that gives memory back. Go's maps keep the size of their best day: a server that once held a
// million groups would hold their table for ever.
//
// It knows nothing of what it keeps.
package shrink

// Map is a map that moves to a smaller one as it empties. The zero value is an empty map, ready for use.
//
// Owner: that of what it belongs to; not for use by several goroutines at once.
type Map[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
}

// Get is the value of key, zero where there is none. Of a string(bytes) it allocates nothing.
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
}

// Delete takes an entry out, if there is one. When three quarters of the best day have gone the rest moves to a smaller
// map; each entry that moves stands for three that were deleted, so the cost of a Delete stays constant.
func (m *Map[K, V]) Delete(key K) {
	delete(m.m, key)
	if m.peak < keptMin || len(m.m) > m.peak/4 {
		return
	}
	smaller := make(map[K]V, len(m.m))
	for key, v := range m.m {
		smaller[key] = v
	}
	m.m, m.peak = smaller, len(smaller)
}

// keptMin is the peak, in entries, below which a map is kept as it is.
const keptMin = 64
