package order

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
)

// farName is the name of a client of another node.
func farName(node uint16, client uint64) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", node, client)
}

// farAway is a client of another node, and a user if it has a name.
func farAway(node uint16, client uint64, user string) dialect.Present {
	p := dialect.Present{Client: client, Name: farName(node, client)}
	if user != "" {
		p.Who = dialect.WhoIs{User: user}.Who()
	}
	return p
}

// noted is a company that notes what it is told.
type noted struct{ said []string }

func (n *noted) Came(home int, group string, p dialect.Present, told bool) {
	user := ""
	if p.Who != nil {
		user = " " + p.Who.User()
	}
	n.said = append(n.said, fmt.Sprint("came ", home, " ", group, " ", p.Client/dialect.SenderLoopsMax, user, map[bool]string{false: " quietly"}[told]))
}

func (n *noted) Went(home int, group string, client uint64, told bool) {
	n.said = append(n.said, fmt.Sprint("went ", home, " ", group, " ", client/dialect.SenderLoopsMax, map[bool]string{false: " quietly"}[told]))
}

func (n *noted) take() string {
	all := strings.Join(n.said, ", ")
	n.said = nil
	return all
}

// accompanied is a social table with a company, and a port by which that says who is elsewhere.
func accompanied(t *testing.T, loops, laneSlots, most int) (*table, *noted, *Inlet[*part, *asker]) {
	hs, n := social(loops, laneSlots, most), &noted{}
	hs.config.FarMax = 10_000
	hs.SetCompany(n)
	in, err := hs.NewInlet()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Close)
	return hs, n, in
}

// hear is what a loop has heard of who comes and goes elsewhere, in short.
func hear(hs *table, loop int) string {
	var all []string
	hs.Lanes(loop).Drain(nil, func(d Delivery[*part, *asker]) bool {
		if m := d.Message; m != nil && d.Local != nil {
			d.Local.Flow().Taken(m.Bytes())
			if m.More != nil && m.More.Client != "" {
				user := ""
				if m.Who() != nil {
					user = " " + m.Who().User()
				}
				if m.More.Still { // its user alone
					user += "~"
				}
				all = append(all, []string{"said ", "came ", "went "}[m.Sort]+strings.TrimLeft(m.More.Client[24:], "0")+user)
			}
		}
		return true
	})
	hs.Lanes(loop).Through(0)
	return strings.Join(all, ", ")
}

// listed is who is in a group as a port is told, and how many they are.
func listed(t *testing.T, in *Inlet[*part, *asker], group string) string {
	t.Helper()
	past, err := in.port.Presence(context.Background(), group)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range past.Present {
		s := fmt.Sprint(p.Client / dialect.SenderLoopsMax)
		if p.Name != "" {
			s = "far " + strings.TrimLeft(p.Name[24:], "0")
			if p.Name != farName(uint16(p.Name[7]-'0'), p.Client) {
				t.Errorf("got client %d of the name %s", p.Client, p.Name)
			}
		}
		if p.Who != nil {
			s += " " + p.Who.User()
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return fmt.Sprintf("%v%d %d%s%s", all, past.Members, past.Users, map[bool]string{true: " crowded"}[past.Crowded], map[bool]string{true: " none"}[past.None])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMembersOfOtherNodesAreListedCountedAndToldOfOnce(t *testing.T) {
	hs, _, in := accompanied(t, 2, 256, 10)
	ctx, p := t.Context(), &part{name: "0g"}
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "ann"), true)) // nobody is here
	join(hs, 0, p, numbered(0, 1), true)
	join(hs, 1, &part{name: "0g"}, numbered(1, 2), false)
	hear(hs, 0)
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 8, "ann"), true))
	must(t, in.There(ctx, "0g", 2, 1, farAway(2, 9, ""), true))
	must(t, in.There(ctx, "0g", 2, 1, farAway(2, 9, "bob"), true)) // is there already, and has said who it is
	must(t, in.There(ctx, "0g", 2, 1, farAway(2, 10, ""), false))
	if got, want := listed(t, in, "0g"), "[1 2 far 7 ann far 8 ann far 9 bob far a]6 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, in.Away(ctx, "0g", 1, 7, true))
	must(t, in.Away(ctx, "0g", 1, 7, true)) // is away already
	must(t, in.Away(ctx, "0g", 2, 10, false))
	if got, want := hear(hs, 0), "came 8 ann, came 9, came 9 bob~, went 7 ann"; got != want {
		t.Errorf("who hears: got %s, want %s", got, want)
	}
	if got := hear(hs, 1); got != "" {
		t.Errorf("who does not hear: got %s, want nothing", got)
	}
	if got, want := listed(t, in, "0g"), "[1 2 far 8 ann far 9 bob]4 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, wrong(hs))
	if err := in.There(ctx, "0g", 1, 1, dialect.Present{Name: "nobody"}, true); !errors.Is(err, ErrBadName) {
		t.Errorf("a name that is none: got %v, want ErrBadName", err)
	}
}

// wrong is what CheckPresence finds.
func wrong(hs *table) error {
	for _, h := range hs.homes {
		if wrong := h.CheckPresence(); wrong != "" {
			return errors.New(wrong)
		}
	}
	return nil
}

// What a home knows of members elsewhere outlives its own members, and its group's history.
func TestMembersOfOtherNodesAreThereWhoeverIsHere(t *testing.T) {
	hs, _, in := accompanied(t, 1, 256, 10)
	ctx, p := t.Context(), &part{name: "0g"}
	if got, want := listed(t, in, "0g"), "[]0 0"; got != want {
		t.Errorf("nobody anywhere: got %s, want %s", got, want)
	}
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, ""), true))
	for range 2 {
		if got, want := listed(t, in, "0g"), "[far 7]1 1"; got != want {
			t.Errorf("nobody is here: got %s, want %s", got, want)
		}
		must(t, wrong(hs))
		join(hs, 0, p, numbered(0, 1), true)
		if got, want := listed(t, in, "0g"), "[1 far 7]2 1"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		must(t, wrong(hs))
		word(hs, 0, OpGone, p, numbered(0, 1), false)
		hs.Census.GiveBack(&hs.homes[0].groups.Get("0g").headcount)
		word(hs, 0, OpLeave, p, nil, false)
		hear(hs, 0)
	}
	must(t, in.Away(ctx, "0g", 1, 7, true))
	if n := hs.homes[0].far.groups.Len() + hs.homes[0].groups.Len() + hs.homes[0].far.members; n != 0 {
		t.Errorf("got %d things known of a group without members, want none", n)
	}
}

func TestTheCompanyIsToldWhoComesAndGoesHere(t *testing.T) {
	hs, n, _ := accompanied(t, 1, 256, 10)
	kind := Kind{Presence: true}
	hs.env.Kind = func(string) Kind { return kind }
	p := &part{name: "0g"}
	r := Request[*part, *asker]{Op: OpJoin, Local: p, Client: numbered(0, 1), Asks: true}
	r.Identify(dialect.WhoIs{User: "ann"}.Who())
	hs.Lanes(0).Offer(0, r)
	hs.Lanes(0).Host()
	join(hs, 0, p, numbered(0, 2), true)
	word(hs, 0, OpHere, p, numbered(0, 2), true)
	word(hs, 0, OpGone, p, numbered(0, 2), false)
	word(hs, 0, OpGone, p, numbered(0, 2), false)
	if got, want := n.take(), "came 0 0g 1 ann, came 0 0g 2, came 0 0g 2 quietly, went 0 0g 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	kind.Presence = false
	hs.KindsChanged()
	hs.Lanes(0).Offer(0, publishTo("0g", "x"))
	hs.Lanes(0).Host()
	if got, want := n.take(), "went 0 0g 1 quietly"; got != want {
		t.Errorf("its kind has no presence any more: got %s, want %s", got, want)
	}
	kind.Presence = true
	hs.KindsChanged()
	word(hs, 0, OpHere, p, numbered(0, 1), true)
	if got, want := n.take(), "came 0 0g 1 quietly"; got != want {
		t.Errorf("its kind has presence again: got %s, want %s", got, want)
	}
	join(hs, 0, &part{name: "0g"}, numbered(0, 3), true) // a panic has dropped the words of the others
	if got, want := n.take(), "went 0 0g 1 quietly, came 0 0g 3"; got != want {
		t.Errorf("words were dropped: got %s, want %s", got, want)
	}
	must(t, wrong(hs))
}

// Those elsewhere count towards how many may be listed.
func TestOfTooManyOnAllNodesTogetherNobodyIsListed(t *testing.T) {
	hs, _, in := accompanied(t, 1, 256, 10)
	ctx, p := t.Context(), &part{name: "0g"}
	for i := range uint64(5) {
		join(hs, 0, p, numbered(0, 1+int(i)), true)
		must(t, in.There(ctx, "0g", 1, 1, farAway(1, 1+i, ""), true))
	}
	if got := hear(hs, 0); strings.Count(got, "came") != 5 {
		t.Errorf("as many as may be: got %s, want five came", got)
	}
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 11, ""), true))
	if got, want := listed(t, in, "0g"), "[]11 1 crowded"; got != want {
		t.Errorf("one too many: got %s, want %s", got, want)
	}
	must(t, in.Away(ctx, "0g", 1, 11, true))
	must(t, in.Away(ctx, "0g", 1, 5, true))
	must(t, in.Away(ctx, "0g", 1, 4, true))
	if got := hear(hs, 0); got != "" {
		t.Errorf("while they are too many: got %s, want nothing", got)
	}
	must(t, in.Away(ctx, "0g", 1, 3, true))
	if got := hear(hs, 0); got != "went 3" {
		t.Errorf("fewer than nine: got %s, want went 3", got)
	}
	if got, want := listed(t, in, "0g"), "[1 2 3 4 5 far 1 far 2]7 1"; got != want {
		t.Errorf("fewer than nine: got %s, want %s", got, want)
	}
	must(t, wrong(hs))
}

func TestOfMoreMembersElsewhereThanMayBeKnownNoListIsWhole(t *testing.T) {
	hs, _, in := accompanied(t, 1, 256, 10)
	hs.config.FarMax = 2
	ctx := t.Context()
	for i := range uint64(3) {
		must(t, in.There(ctx, fmt.Sprint("0", i), 1, 1, farAway(1, i, ""), true))
	}
	if got := listed(t, in, "00"); got != "[]1 1 crowded" || hs.FarRefused() != 1 {
		t.Errorf("got %s and %d refused, want it crowded, and one", got, hs.FarRefused())
	}
	must(t, in.Sweep(ctx, 1, 2, true))
	must(t, in.There(ctx, "00", 1, 2, farAway(1, 1, ""), true))
	if got := listed(t, in, "00"); got != "[far 1]1 1" {
		t.Errorf("after all have gone: got %s, want it listed", got)
	}
}

// A node that has gone takes its members along, also where many have to be told of, and lanes are short.
func TestANodeThatHasGoneTakesItsMembersAlong(t *testing.T) {
	hs, _, in := accompanied(t, 2, 8, 1000)
	hs.env.Wake = func(int) {}
	ctx, p := t.Context(), &part{name: "0g"}
	join(hs, 1, p, numbered(1, 1), true)
	heard := map[string]int{}
	serve := func() {
		for {
			got := hear(hs, 1)
			for _, one := range strings.Split(got, ", ") {
				heard[one]++
			}
			if _, busy := hs.Lanes(0).Host(); got == "" && !busy && hs.homes[0].Idle() && !hs.homes[0].called() {
				return
			}
		}
	}
	const groups, members = 300, 400
	for i := range uint64(members) {
		must(t, in.There(ctx, "0g", 1, 1, farAway(1, 1+i, ""), true))
		must(t, in.There(ctx, "0g", 2, 1, farAway(2, 1001+i, ""), true))
		serve()
		must(t, in.There(ctx, fmt.Sprint("0", i%groups), 1, 1, farAway(1, 1+i, ""), true))
	}
	must(t, in.There(ctx, "0g", 1, 2, farAway(1, 1, ""), true)) // still there
	must(t, in.Sweep(ctx, 1, 2, true))
	serve()
	if got := hs.homes[0].far.members; got != members+1 {
		t.Errorf("got %d members elsewhere, want %d", got, members+1)
	}
	must(t, in.Sweep(ctx, 1, 3, true))
	serve()
	if got := hs.homes[0].far.groups.Len(); got != 1 {
		t.Errorf("got %d groups with members elsewhere, want 1", got)
	}
	delete(heard, "")
	if len(heard) != 3*members {
		t.Errorf("got %d different news, want %d", len(heard), 3*members)
	}
	for one, n := range heard {
		if n != 1 {
			t.Errorf("got %s %d times, want once", one, n)
		}
	}
	must(t, wrong(hs))
}

// That somebody comes elsewhere is held back as a publish is that cannot be refused, and told when there is less in flight.
func TestAComingElsewhereIsHeldBackWhereTheGroupIsLoud(t *testing.T) {
	hs, _, in := accompanied(t, 1, 256, 10)
	hs.config.FlightBytes, hs.config.FlightMin = 2000, 100
	ctx, p := t.Context(), &part{name: "0g"}
	join(hs, 0, p, numbered(0, 1), true)
	hear(hs, 0)
	for hs.homes[0].open(hs.homes[0].groups.Get("0g"), 500) {
		hs.Lanes(0).Offer(0, publishTo("0g", strings.Repeat("x", 400)))
		hs.Lanes(0).Host()
	}
	for i := range uint64(3) {
		must(t, in.There(ctx, "0g", 1, 1, farAway(1, 1+i, ""), true))
	}
	if got := hs.homes[0].far.members; got == 3 {
		t.Errorf("got %d members elsewhere, want some held back", got)
	}
	got := ""
	for range 5 {
		got += hear(hs, 0) + ";"
		hs.Lanes(0).Host()
	}
	if strings.Count(got, "came") != 3 || hs.homes[0].far.members != 3 {
		t.Errorf("got %s and %d members elsewhere, want three", got, hs.homes[0].far.members)
	}
	if hs.homes[0].groups.Get("0g").heldBack != 0 {
		t.Error("nobody may publish to the group any more")
	}
}
