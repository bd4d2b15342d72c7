package loop

// table is a map that gives memory back. Go's maps keep the size of their best day: without this a server
// that once held a million groups would hold their table for ever.
//
// Owner: that of what it belongs to.
type table[K comparable, V any] struct {
	m    map[K]V
	peak int // the most entries since m was made
}

func newTable[K comparable, V any]() table[K, V] { return table[K, V]{m: map[K]V{}} }

func (t *table[K, V]) put(key K, v V) {
	t.m[key] = v
	t.peak = max(t.peak, len(t.m))
}

// drop takes an entry out. When three quarters of the best day have gone the rest moves to a smaller map; each entry
// that moves stands for three that were dropped, so the cost of a drop stays constant.
func (t *table[K, V]) drop(key K) {
	delete(t.m, key)
	if t.peak < tableKeptMin || len(t.m) > t.peak/4 {
		return
	}
	smaller := make(map[K]V, len(t.m))
	for key, v := range t.m {
		smaller[key] = v
	}
	t.m, t.peak = smaller, len(smaller)
}

// tableKeptMin is the peak below which a table keeps its map.
const tableKeptMin = 64
