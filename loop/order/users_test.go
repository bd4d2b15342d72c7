package order

import (
	"testing"

	"ringcast/dialect"
)

func TestUsersAreCountedOnceHoweverManyMembersTheyAre(t *testing.T) {
	const most = 4 // more of them are a crowd
	hs := social(2, 256, most)
	p, g := openPort(t, hs), &part{name: "0g"}
	ann, annToo, bob, nameless := dialect.WhoIs{User: "ann"}.Who(), dialect.WhoIs{User: "ann", Info: []byte("1")}.Who(), dialect.WhoIs{User: "bob"}.Who(), dialect.WhoIs{Info: []byte("2")}.Who()
	is := func(op RequestOp, serial int, who *dialect.Who) {
		r := Request[*part, *asker]{Op: op, Local: g, Client: numbered(0, serial), Asks: true, Hears: true}
		r.Identify(who)
		hs.Lanes(0).Offer(0, r)
		hs.Lanes(0).Host()
		heardOf(hs, 0)
	}
	for i, step := range []struct {
		op             RequestOp
		serial         int
		who            *dialect.Who
		members, users int
	}{
		{OpJoin, 1, nil, 1, 1}, {OpJoin, 2, nil, 2, 1}, {OpJoin, 3, ann, 3, 2}, {OpJoin, 4, annToo, 4, 2},
		{OpJoin, 5, bob, 5, 3}, {OpJoin, 6, nameless, 6, 3}, {OpHere, 6, bob, 6, 3}, {OpHere, 3, bob, 6, 3}, {OpHere, 3, ann, 6, 3},
		{OpGone, 1, nil, 5, 3}, {OpGone, 2, nil, 4, 2}, {OpGone, 4, nil, 3, 2}, {OpGone, 3, nil, 2, 1}, {OpHere, 5, nameless, 2, 2},
		{OpGone, 5, nil, 1, 1}, {OpHere, 6, nil, 1, 1}, {OpGone, 6, nil, 0, 0},
	} {
		is(step.op, step.serial, step.who)
		past, err := p.Presence(t.Context(), "0g")
		if err != nil || past.Members != step.members || past.Users != step.users {
			t.Errorf("step %d: got %d members and %d users (%v), want %d and %d", i, past.Members, past.Users, err, step.members, step.users)
		}
		if wrong := hs.homes[0].CheckPresence(); wrong != "" {
			t.Errorf("step %d: %s", i, wrong)
		}
	}
	if p := hs.homes[0].presence(hs.homes[0].groups.Get("0g")); p.crowded() || p.users.who != nil {
		t.Errorf("got %+v, want nothing kept of users when none is there", p)
	}
}

func TestNewsNameTheUser(t *testing.T) {
	hs := social(1, 256, 10)
	g, ann := &part{name: "0g"}, dialect.WhoIs{User: "ann"}.Who()
	join(hs, 0, g, numbered(0, 1), true)
	r := Request[*part, *asker]{Op: OpJoin, Local: g, Client: numbered(0, 2), Asks: true}
	r.Identify(ann)
	hs.Lanes(0).Offer(0, r)
	hs.Lanes(0).Host()
	word(hs, 0, OpGone, g, numbered(0, 2), false)
	word(hs, 0, OpGone, g, numbered(0, 1), false)
	var got []*dialect.Who
	hs.Lanes(0).Drain(nil, func(d Delivery[*part, *asker]) bool {
		if d.Message != nil {
			got = append(got, d.Message.Who())
		}
		return true
	})
	if len(got) != 3 || got[0] != nil || got[1] != ann || got[2] != ann {
		t.Errorf("got %v, want one without a name, then ann who comes and goes", got)
	}
}
