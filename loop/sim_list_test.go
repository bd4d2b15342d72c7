package loop

// simWalk is a list of a loop's clients that an operator of the simulation has it make.
type simWalk struct {
	listing
	there map[*client]bool // when it began
	named map[uint64]bool
}

// list has a loop make the next slice of a list, when it next looks, and holds a list that is complete against who was there.
func (w *world) list(loop int) {
	s := w.hub.shards[loop]
	w.hub.call(s, func(s *shard) {
		l := w.walks[loop]
		if l == nil {
			l = &simWalk{listing: listing{left: notBegun}, there: map[*client]bool{}, named: map[uint64]bool{}}
			for _, c := range s.clients {
				l.there[c] = true
			}
			w.walks[loop] = l
		}
		more := s.list(&l.listing)
		for _, row := range l.rows {
			w.must(!l.named[row.ID], "loop %d: client %d is listed twice", loop, row.ID)
			l.named[row.ID] = true
		}
		if more {
			return
		}
		for c := range l.there {
			w.must(c.state >= stateDoomed || l.named[c.Number()], "loop %d: client %d was there all the time, and is not listed", loop, c.Number())
			delete(l.named, c.Number())
		}
		w.must(len(l.named) == 0, "loop %d: %d clients are listed that have come since", loop, len(l.named))
		w.walks[loop] = nil
		w.listed++
	})
}
