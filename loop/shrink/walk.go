package shrink

import "reflect"

// Walk is a walk over a map in steps, between which the map may change. An entry that is there from the first step to the last comes
// exactly once. One that comes meanwhile may be left out; one that goes and comes again may come twice. The zero value is a walk that
// has yet to begin; it allocates a little for each step.
//
// Where a smaller map takes the place of the one that is walked over (see Map), the walk stays with that: nobody writes it any more, and
// it has all entries that were there.
//
// Owner: that of the map.
type Walk[K comparable, V any] struct {
	of   map[K]V
	iter reflect.MapIter // a range cannot pause
	over bool
}

// Next looks at one further entry. there is false if it is one that has gone; so a walk over a map of which most has gone takes steps too.
// more is false when there was none to look at. Every call of a walk must be for the same map.
func (w *Walk[K, V]) Next(m *Map[K, V]) (key K, v V, there, more bool) {
	if w.over {
		return key, v, false, false
	}
	if w.of == nil {
		w.of = m.All()
		w.iter.Reset(reflect.ValueOf(w.of))
	}
	if !w.iter.Next() {
		w.over = true
		return key, v, false, false
	}
	key = w.iter.Key().Interface().(K)
	v, there = m.m[key] // in a map whose place a smaller one has taken, some are gone
	return key, v, there, true
}
