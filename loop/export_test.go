package loop

// size is the number of members.
func (g *group) size() (n int) {
	for a := g.further; a != nil; a = a.next {
		n += len(a.members)
	}
	return n + len(g.inline.members)
}
