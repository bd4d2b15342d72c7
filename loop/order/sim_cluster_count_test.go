package order

import (
	"flag"
	"testing"
)

var simMore = flag.Int("sim.more", 0, "how many seeds of each shape the simulation of a cluster runs; 0: as many as the shape says")

// clusterCounts is what has happened in simulated clusters. A simulation in which something has never happened shows nothing about it.
type clusterCounts struct {
	ordered, heard, fast                        int
	full, loud                                  int
	refused                                     map[error]int
	repeated, repeatedAtHome                    int
	recalls, recallsFull, recallsFailed         int
	partial                                     int
	joinsRefused, pagesRefused                  int
	recovered, recoveredMessages, lost          int
	pages, pagesLost, forgets, epochs, restarts int
	cached                                      int
	late                                        int // refused as unconfirmed, and put in order after all
}

// trouble is how many recalls have failed.
func (n *clusterCounts) trouble() int { return n.recallsFull + n.recallsFailed + n.epochs }

func (n *clusterCounts) add(of *clusterCounts) {
	for _, each := range []struct{ to, from *int }{
		{&n.ordered, &of.ordered}, {&n.heard, &of.heard}, {&n.fast, &of.fast}, {&n.full, &of.full}, {&n.loud, &of.loud},
		{&n.repeated, &of.repeated}, {&n.repeatedAtHome, &of.repeatedAtHome}, {&n.recalls, &of.recalls}, {&n.recallsFull, &of.recallsFull},
		{&n.recallsFailed, &of.recallsFailed}, {&n.partial, &of.partial}, {&n.joinsRefused, &of.joinsRefused}, {&n.pagesRefused, &of.pagesRefused},
		{&n.recovered, &of.recovered}, {&n.recoveredMessages, &of.recoveredMessages}, {&n.lost, &of.lost}, {&n.pages, &of.pages},
		{&n.pagesLost, &of.pagesLost}, {&n.forgets, &of.forgets}, {&n.epochs, &of.epochs}, {&n.restarts, &of.restarts}, {&n.late, &of.late}, {&n.cached, &of.cached},
	} {
		*each.to += *each.from
	}
	for why, times := range of.refused {
		n.refused[why] += times
	}
}

// check says what has not happened though the shape is about it.
func (n *clusterCounts) check(t *testing.T, shape *clusterShape) {
	history, fast := false, false
	for _, k := range shape.kinds {
		history, fast = history || k.Messages > 0, fast || k.Fast
	}
	for what, wrong := range map[string]bool{
		"heard":     n.ordered == 0 || n.heard < n.ordered/2,
		"fast":      (n.fast > 0) != fast,
		"full":      (n.full > 0) != (shape.full > 0),
		"refused":   (n.refused[ErrBusy] > 0 && n.refused[ErrUnavailable] > 0 && n.refused[ErrUnconfirmed] > 0 && n.late > 0) != (shape.refusing > 0),
		"loud":      (n.loud > 0) != (shape.flight < 1<<20),
		"repeats":   (n.repeated > 0 && n.repeatedAtHome > 0) != (shape.keyed > 0),
		"recalls":   (n.recalls > 0 && n.recovered > 0 && n.recoveredMessages > n.recovered/2 && n.lost > 0 && n.pages > 0 && n.pagesLost > 0) != history,
		"failing":   (n.recallsFull > 0 && n.recallsFailed > 0 && n.joinsRefused > 0 && n.pagesRefused > 0) != (shape.failing > 0),
		"partial":   (n.partial > 0) != (shape.partial || shape.logMax < 1<<20),
		"forgets":   n.forgets == 0 && shape.forgetting > 0,
		"epochs":    (n.epochs > 0) != (shape.losses > 0),
		"cached":    n.cached == 0,
		"restarted": (n.restarts > 0) != (shape.restarts > 0),
	} {
		if wrong {
			t.Errorf("%s: %+v", what, *n)
		}
	}
}
