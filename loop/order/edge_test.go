package order

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ringcast/dialect"
)

// userAs has a loop ask or say something of a client that is a user, or nobody.
func userAs(hs *table, loop int, op RequestOp, p *part, client *asker, user string, a *Ask) {
	r := Request[*part, *asker]{Op: op, Local: p, Client: client, Asks: true, Hears: true, Past: a}
	if user != "" {
		r.Identify(dialect.WhoIs{User: user}.Who())
	}
	hs.Lanes(loop).Offer(hs.Of(p.name), r)
	hs.Lanes(loop).Host()
}

// moves is the news that have come down to a loop, in short: "came 1 ann!" if ann comes with it, "~" if its user comes alone, "-1" if client 1
// is not sent it.
func moves(hs *table, loop int) string {
	var all []string
	hs.Lanes(loop).Drain(nil, func(d Delivery[*part, *asker]) bool {
		if m := d.Message; m != nil && m.Sort != dialect.Said {
			d.Local.Flow().Taken(m.Bytes())
			all = append(all, moveOf(m))
		}
		return true
	})
	hs.Lanes(loop).Through(0)
	return strings.Join(all, ", ")
}

func moveOf(m *Message) string {
	client, _ := m.Sender()
	s := fmt.Sprint([]string{"said ", "came ", "went "}[m.Sort], client/dialect.SenderLoopsMax)
	if m.More == nil {
		return s
	}
	if m.More.Client != "" {
		s = []string{"said ", "came ", "went "}[m.Sort] + "far " + strings.TrimLeft(m.More.Client[24:], "0")
	}
	if m.More.Who != nil {
		s += " " + m.More.Who.User()
	}
	for _, mark := range []struct {
		is   bool
		text string
	}{{m.More.Edge, "!"}, {m.More.Still, "~"}, {m.More.Except != 0, fmt.Sprint("-", m.More.Except/dialect.SenderLoopsMax)}} {
		if mark.is {
			s += mark.text
		}
	}
	return s
}

// A user comes with its first client and goes with its last, on whatever node; nobody is no user.
func TestAUserComesWithItsFirstMemberAndGoesWithItsLast(t *testing.T) {
	hs, _, in := accompanied(t, 2, 256, 10)
	ctx, parts := t.Context(), []*part{{name: "0g"}, {name: "0g"}}
	userAs(hs, 0, OpJoin, parts[0], numbered(0, 1), "ann", nil)
	userAs(hs, 1, OpJoin, parts[1], numbered(1, 2), "ann", nil)
	userAs(hs, 1, OpJoin, parts[1], numbered(1, 3), "", nil)
	userAs(hs, 1, OpJoin, parts[1], numbered(1, 4), "", nil)
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "ann"), true))
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 8, "bob"), true))
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 9, "bob"), true))
	userAs(hs, 1, OpGone, parts[1], numbered(1, 2), "", nil)
	userAs(hs, 1, OpGone, parts[1], numbered(1, 3), "", nil)
	must(t, in.Away(ctx, "0g", 1, 8, true))
	must(t, in.Sweep(ctx, 1, 2, true))
	want := "came 1 ann!, came 2 ann, came 3, came 4, came far 7 ann, came far 8 bob!, came far 9 bob, went 2 ann, went 3, went far 8 bob"
	got := moves(hs, 0)
	if swept, is := strings.CutPrefix(got, want); !is || swept != ", went far 7 ann, went far 9 bob!" && swept != ", went far 9 bob!, went far 7 ann" {
		t.Errorf("got %s, want %s, and that far 7 and 9 went, bob with it", got, want)
	}
	userAs(hs, 1, OpJoin, parts[1], numbered(1, 5), "ann", nil)
	userAs(hs, 0, OpGone, parts[0], numbered(0, 1), "", nil)
	userAs(hs, 1, OpGone, parts[1], numbered(1, 5), "", nil)
	moves(hs, 0)
	if got, want := moves(hs, 1), "went 5 ann!"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want it to end with %s", got, want)
	}
	must(t, wrong(hs))
}

// Who hears of users is told of one that a member becomes, and no more: no client comes or goes.
func TestAMemberThatSaysLaterWhoItIsBringsItsUser(t *testing.T) {
	hs, _, in := accompanied(t, 2, 256, 10)
	ctx, p := t.Context(), &part{name: "0g"}
	userAs(hs, 0, OpJoin, p, numbered(0, 1), "", nil)
	userAs(hs, 0, OpHere, p, numbered(0, 1), "ann", nil)
	userAs(hs, 0, OpHere, p, numbered(0, 1), "ann", nil) // it says so again
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, ""), true))
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "ann"), true))
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "bob"), true))
	userAs(hs, 0, OpHere, p, numbered(0, 1), "eve", nil)
	userAs(hs, 0, OpHere, p, numbered(0, 1), "", nil)
	userAs(hs, 0, OpGone, p, numbered(0, 9), "", nil) // is not there
	want := "came 1, came 1 ann!~, came far 7, came far 7 bob!~, went 1 ann!~, came 1 eve!~, went 1 eve!~"
	if got := moves(hs, 0); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := listed(t, in, "0g"), "[1 far 7 bob]2 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, wrong(hs))
}

// Of two news each is told when there is room, once.
func TestNewsOfUsersWaitForRoom(t *testing.T) {
	hs := social(1, 1, 10)
	p := &part{name: "0g"}
	userAs(hs, 0, OpJoin, p, numbered(0, 1), "ann", nil) // its lane has the answer
	userAs(hs, 0, OpHere, p, numbered(0, 1), "bob", nil)
	var got []string
	for range 4 {
		got = append(got, moves(hs, 0))
		hs.Lanes(0).Host()
	}
	if want := "came 1 ann!;went 1 ann!~;came 1 bob!~;"; strings.Join(got, ";") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ";"), want)
	}
	must(t, wrong(hs))
}

// Nobody hears of users where nobody hears of clients: among too many, and of who is here since before its kind has had presence.
func TestNobodyIsToldOfUsersAmongTooMany(t *testing.T) {
	hs := social(1, 256, 4)
	p := &part{name: "0g"}
	for i := 1; i <= 5; i++ {
		userAs(hs, 0, OpJoin, p, numbered(0, i), "", nil)
	}
	userAs(hs, 0, OpHere, p, numbered(0, 1), "ann", nil)
	for i := 2; i <= 4; i++ {
		userAs(hs, 0, OpGone, p, numbered(0, i), "", nil)
	}
	userAs(hs, 0, OpHere, p, numbered(0, 9), "bob", nil)
	userAs(hs, 0, OpGone, p, numbered(0, 1), "", nil)
	if got, want := moves(hs, 0), "came 1, came 2, came 3, came 4, went 1 ann!"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	must(t, wrong(hs))
}

// lists is what an OpJoin asks that wants to know who is there.
var lists = &Ask{Lists: true}

func TestWhoJoinsMayBeToldWhoIsThereAndIsNotToldOfItself(t *testing.T) {
	hs, _, in := accompanied(t, 2, 256, 3)
	ctx, parts := t.Context(), []*part{{name: "0g"}, {name: "0g"}}
	listing := func(loop int, client *asker, user string) string {
		userAs(hs, loop, OpJoin, parts[loop], client, user, lists)
		var told []string
		hs.Lanes(loop).Drain(nil, func(d Delivery[*part, *asker]) bool {
			switch {
			case d.Op == OpRefused:
				told = append(told, fmt.Sprint("refused ", d.Why == RefusedCrowded))
			case d.Op == OpJoined:
				told = append(told, fmt.Sprint(d.Past.Members, " ", d.Past.Users))
				for _, is := range d.Past.Present {
					told = append(told, fmt.Sprint(is.Client/dialect.SenderLoopsMax, " ", is.Name, nameOf(is.Who)))
				}
			}
			if m := d.Message; m != nil {
				d.Local.Flow().Taken(m.Bytes())
				told = append(told, moveOf(m))
			}
			return true
		})
		return strings.Join(told, ", ")
	}
	if got, want := listing(0, numbered(0, 1), "ann"), "1 1, 1 ann"; got != want {
		t.Errorf("the first: got %s, want %s", got, want)
	}
	must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "bob"), true))
	if got, want := listing(1, numbered(1, 2), "ann"), "3 2, 1 ann, 2 ann, 0 "+farName(1, 7)+"bob"; got != want {
		t.Errorf("of another loop: got %s, want %s", got, want)
	}
	if got, want := moves(hs, 0), "came far 7 bob!, came 2 ann-2"; got != want {
		t.Errorf("the first is told: got %s, want %s", got, want)
	}
	if got, want := listing(1, numbered(1, 3), "eve"), "refused true"; got != want {
		t.Errorf("one too many: got %s, want %s", got, want)
	}
	if members := hs.homes[0].groups.Get("0g").headcount.Members(); members != 2 {
		t.Errorf("got %d places, want two: the one that was refused has none", members)
	}
	must(t, in.Away(ctx, "0g", 1, 7, true))
	moves(hs, 1)
	if got, want := listing(1, numbered(1, 3), ""), "3 2, 1 ann, 2 ann, 3 , came 3-3"; got != want {
		t.Errorf("where another one hears: got %s, want %s", got, want)
	}
	join(hs, 1, parts[1], numbered(1, 4), false) // does not ask, so now they are too many
	moves(hs, 1)
	if got, want := listing(1, numbered(1, 5), ""), "refused true"; got != want {
		t.Errorf("of too many: got %s, want %s", got, want)
	}
	must(t, wrong(hs))
}

// Where a home does not know of all who are elsewhere no list is whole, and none is given.
func TestNobodyJoinsWithAListThatIsNotWhole(t *testing.T) {
	hs, _, in := accompanied(t, 1, 256, 10)
	hs.config.FarMax = 1
	must(t, in.There(t.Context(), "0other", 1, 1, farAway(1, 1, ""), true))
	must(t, in.There(t.Context(), "0other", 1, 1, farAway(1, 2, ""), true))
	p := &part{name: "0g"}
	userAs(hs, 0, OpJoin, p, numbered(0, 1), "ann", lists)
	join(hs, 0, p, numbered(0, 2), false)
	if got, want := heardOf(hs, 0), fmt.Sprint("refused:", RefusedCrowded, ", joined:2 present:true"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	hs.env.Kind = nil
	hs.KindsChanged()
	if past := rejoin(t, hs, 0, "0none", &Ask{Lists: true, Cached: true}); past != nil {
		t.Errorf("a kind without presence: got %+v, want nothing", past)
	}
}

// What who hears is told of users is what a plain count says, whatever happens in which order.
func TestUsersComeAndGoAsAModelSays(t *testing.T) {
	for seed := range uint64(40) {
		modelUsers(t, seed)
	}
}

func modelUsers(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	hs, _, in := accompanied(t, 2, 64, 1000)
	parts := []*part{{name: "0g"}, {name: "0g"}}
	join(hs, 1, parts[1], numbered(1, 99), true) // hears
	moves(hs, 1)
	here, away := map[int]string{}, map[uint64]string{}
	told := map[string]bool{} // the users of whom it has been told that they are there
	there := func() map[string]bool {
		users := map[string]bool{}
		for _, user := range here {
			users[user] = true
		}
		for _, user := range away {
			users[user] = true
		}
		delete(users, "")
		return users
	}
	for step := range 200 {
		serial, far := 1+rng.IntN(4), uint64(1+rng.IntN(4))
		user := []string{"", "ann", "bob"}[rng.IntN(3)]
		_, isHere := here[serial]
		switch n := rng.IntN(6); {
		case n == 0 && !isHere:
			here[serial] = user
			userAs(hs, 0, OpJoin, parts[0], numbered(0, serial), user, []*Ask{nil, lists}[rng.IntN(2)])
		case n == 1 && isHere:
			here[serial] = user
			userAs(hs, 0, OpHere, parts[0], numbered(0, serial), user, nil)
		case n == 2 && isHere:
			delete(here, serial)
			userAs(hs, 0, OpGone, parts[0], numbered(0, serial), "", nil)
		case n < 5:
			away[far] = user
			must(t, in.There(t.Context(), "0g", 1, 1, farAway(1, far, user), true))
		default:
			delete(away, far)
			must(t, in.Away(t.Context(), "0g", 1, far, true))
		}
		moves(hs, 0)
		hs.Lanes(1).Drain(nil, func(d Delivery[*part, *asker]) bool {
			if m := d.Message; m != nil {
				d.Local.Flow().Taken(m.Bytes())
				if m.More != nil && m.More.Edge {
					user, comes := m.Who().User(), m.Sort == dialect.Came
					if told[user] == comes || m.More.Still && !strings.Contains("ann bob", user) {
						t.Fatalf("seed %d, step %d: %s, and told are %v", seed, step, moveOf(m), told)
					}
					if told[user] = comes; !comes {
						delete(told, user)
					}
				}
			}
			return true
		})
		hs.Lanes(1).Through(0)
		if want := there(); fmt.Sprint(told) != fmt.Sprint(want) {
			t.Fatalf("seed %d, step %d: it is told that %v are there, want %v", seed, step, told, want)
		}
		must(t, wrong(hs))
	}
}
