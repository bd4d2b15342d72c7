package loop

// group is one loop's part of a group: its own members, and the messages that wait for them. Members lie in a dense
// slice because a pass walks all of them; each knows its place, so leaving does not search them.
//
//	members   [ served │ to serve │ joined since ]
//	           0      cur        end            len
//
// cur and end are the borders of the pass under way; without one both are 0. A pass may take many turns, and between
// them members come and go: who joins lands behind end and gets the next batch, who leaves moves one member of each
// region behind its hole across a border, so nobody misses or repeats a batch.
//
// Owner: the loop.
type group struct {
	name      string
	home      int
	headcount *headcount // nil: the home does not know of this loop's members, and sends nothing
	asked     int        // opJoins that the home has not answered
	idle      bool       // in the shard's list of groups that may be given up
	queued    bool       // in the shard's list of groups that wait for a pass

	members []*client
	cur     int
	end     int

	batch      []byte   // what the pass under way sends to each member
	batchCount int      // how many messages that is
	batchOwned bool     // batch is the group's own memory, else it is a shared frame
	waiting    [][]byte // frames gathered since, oldest first
	begunAt    int64    // when the pass under way began, if it is timed, else 0
}

// add appends a client.
func (g *group) add(c *client) (pos uint32) {
	g.members = append(g.members, c)
	return uint32(len(g.members) - 1)
}

// remove takes the member at pos out of the slice, through both borders of a pass. at is the place of that membership
// among the client's own.
func (g *group) remove(pos uint32, at int) {
	hole := int(pos)
	if hole < g.cur {
		g.cur--
		g.move(g.cur, hole, at)
		hole = g.cur
	}
	if hole < g.end {
		g.end--
		g.move(g.end, hole, at)
		hole = g.end
	}
	last := len(g.members) - 1
	g.move(last, hole, at)
	g.members[last] = nil
	g.members = g.members[:last]
	if cap(g.members) > membersKeptMin && len(g.members) < cap(g.members)/4 {
		g.members = append(make([]*client, 0, cap(g.members)/2), g.members...)
	}
}

// membersKeptMin is the capacity below which a shrinking group keeps its slice.
const membersKeptMin = 64

// move searches the moved client's own groups, of which most have one, rather than have every entry say which of them
// this is: that would double the members slice. It looks first where the leaving client had the group: those who are in
// many are mostly in the same, and joined them in the same order. (BenchmarkBury)
func (g *group) move(from, to, hint int) {
	if from == to {
		return
	}
	c := g.members[from]
	g.members[to] = c
	at := hint
	if at >= c.groupCount() || c.membership(at).group != g {
		at = c.memberOf(g)
	}
	c.membership(at).pos = uint32(to)
}

// passing says that a batch is under way.
func (g *group) passing() bool { return g.batch != nil }

// begin starts a pass: all members of now, and as many of the waiting frames as the bound allows, joined into one
// contiguous buffer so that each member costs one send however many messages there are. A single frame is sent as it
// is, without a copy. It returns the bytes taken from waiting.
//
// One buffer beat a vector of frames by 10 to 40 % a send in the prototype, and it is built once for all members.
func (g *group) begin(batchBytesMax int, spare []byte) (taken int) {
	n := 0
	for n < len(g.waiting) && (n == 0 || taken+len(g.waiting[n]) <= batchBytesMax) {
		taken += len(g.waiting[n])
		n++
	}
	if n == 1 {
		g.batch, g.batchOwned = g.waiting[0], false
	} else {
		g.batch, g.batchOwned = spare[:0], true
		for _, f := range g.waiting[:n] {
			g.batch = append(g.batch, f...)
		}
	}
	g.batchCount = n
	rest := copy(g.waiting, g.waiting[n:])
	clear(g.waiting[rest:])
	g.waiting = g.waiting[:rest]
	g.cur, g.end = 0, len(g.members)
	return taken
}

// finish ends a pass and gives back the batch's memory, nil when it was a shared frame.
func (g *group) finish() (spare []byte) {
	if g.batchOwned {
		spare = g.batch
	}
	g.batch, g.batchCount, g.batchOwned = nil, 0, false
	g.cur, g.end, g.begunAt = 0, 0, 0
	return spare
}
