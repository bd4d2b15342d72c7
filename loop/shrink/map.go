// Package shrink has a map that gives memory back. Go's maps never shrink: a server that once had a million groups would keep
// the memory of their table for ever.
//
// The rule of the package: it knows nothing of what it keeps.
package shrink

// Map is a map whose entries move to a smaller one as it empties. The zero value is an empty map, ready for use.
//
// Owner: that of what it belongs to; one goroutine at a time.
type Map[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
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
}

// Delete takes an entry out, if there is one. When there are only a quarter as many as at the peak, they move to a smaller map.
// Three were deleted for each that moves, so the cost of a Delete is constant on average.
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
