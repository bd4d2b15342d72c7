package client

// Vigil is a clock by which to judge that nothing comes any more: for how long, in nanoseconds, the generator has watched its connections.
func (g *Generator) Vigil() int64 { return g.vigil.shows }

// vigil stands still while its generator is held up. When the machine stalls, or this process alone, what comes waits to be read, and the
// server may be held up as well: that is no silence of the server. So a turn counts for no more than the longest sleep, and not before all
// that had come by its begin is being handled.
type vigil struct {
	shows int64
	last  int64 // begin of the turn that was counted last
}

func (v *vigil) begin(now int64) { v.last = now }

// turn counts the time up to the begin of a turn, when it is known what has come.
func (v *vigil) turn(begun int64) {
	v.shows += min(begun-v.last, int64(TurnMax))
	v.last = begun
}
