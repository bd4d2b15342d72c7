package order

import "testing"

// What a home calls of the program around it may panic. Who is there is as before then; and a client whose going was dropped is there until
// its loop has left.
func TestAPanicLeavesWhoIsThereRight(t *testing.T) {
	requests := map[string]Request[*part, *asker]{
		"join":     {Op: OpJoin, Hears: true},
		"again":    {Op: OpJoin},
		"gone":     {Op: OpGone},
		"here":     {Op: OpHere, Hears: true},
		"presence": {Op: OpPresence},
		"leave":    {Op: OpLeave},
		"publish":  publishTo("0g", "x"),
	}
	for what, r := range requests {
		for panics := range 3 { // the call over which it panics
			for _, changed := range []bool{false, true} {
				hs, _ := remembering(1, 5, 10)
				kind, bounds, clock := func(string) Kind { return Kind{Messages: 5, TTL: 10, Presence: true} }, hs.env.Bounds, hs.env.Now
				hs.env.Kind = kind
				l, here, first, second := hs.Lanes(0), &part{name: "0g"}, asker(64), asker(128)
				do := func(r Request[*part, *asker]) (panicked bool) {
					defer func() { panicked = recover() != nil }()
					l.Offer(0, r)
					l.Host()
					return
				}
				who := func() (n int) {
					if wrong := hs.homes[0].CheckPresence(); wrong != "" {
						t.Errorf("%s, panic %d: %s", what, panics, wrong)
					}
					hs.homes[0].EachPresent(func(_ string, present map[uint64]bool, _ bool) { n = len(present) })
					return n
				}
				do(Request[*part, *asker]{Op: OpJoin, Local: here, Client: &first, Hears: true})
				calls := 0
				call := func() {
					if calls++; calls > panics {
						panic("at the world's end")
					}
				}
				if changed {
					hs.KindsChanged()
				}
				hs.env.Kind = func(group string) Kind { call(); return kind(group) }
				hs.env.Bounds = func(group string) (int, int) { call(); return bounds(group) }
				hs.env.Now = func() uint32 { call(); return clock() }
				if r.Client = &first; what == "join" || what == "here" {
					r.Client = &second
				}
				if r.Op != OpPublish {
					r.Local = here
				}
				if what == "leave" {
					hs.Census.GiveBack(&hs.homes[0].groups.Get("0g").headcount)
				}
				panicked := do(r)
				hs.env.Kind, hs.env.Bounds, hs.env.Now = kind, bounds, clock
				if l.Survive(); panicked && who() != 1 {
					t.Errorf("%s, panic %d: got %d who are there, want one as before", what, panics, who())
				}
				for hg := hs.homes[0].groups.Get("0g"); hg.headcount.Members() > 0; {
					hs.Census.GiveBack(&hg.headcount)
				}
				if do(Request[*part, *asker]{Op: OpLeave, Local: here}); who() != 0 {
					t.Errorf("%s, panic %d: got %d who are there when their loop has left, want nobody", what, panics, who())
				}
			}
		}
	}
}
