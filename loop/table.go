package loop

// table is a map by group name that gives memory back. Go's maps keep the size of their best day: without this a server
// that once held a million groups would hold their table for ever.
//
// Owner: that of the shard or home it belongs to.
type table[V any] struct {
	m    map[string]V
	peak int // the most entries since m was made
}

func newTable[V any]() table[V] { return table[V]{m: map[string]V{}} }

func (t *table[V]) put(name string, v V) {
	t.m[name] = v
	t.peak = max(t.peak, len(t.m))
}

// drop takes an entry out. When three quarters of the best day have gone the rest moves to a smaller map; each entry
// that moves stands for three that were dropped, so the cost of a drop stays constant.
func (t *table[V]) drop(name string) {
	delete(t.m, name)
	if t.peak < tableKeptMin || len(t.m) > t.peak/4 {
		return
	}
	smaller := make(map[string]V, len(t.m))
	for name, v := range t.m {
		smaller[name] = v
	}
	t.m, t.peak = smaller, len(smaller)
}

// tableKeptMin is the peak below which a table keeps its map.
const tableKeptMin = 64
