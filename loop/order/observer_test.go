package order

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"ringcast/dialect"
)

// noticed is an observer that notes what it is told.
type noticed struct{ all []string }

func (n *noticed) Observe(_ int, o Observation) {
	n.all = append(n.all, [...]string{"occupied", "vacated", "came " + o.User, "went " + o.User, "miss", "said"}[o.What]+map[bool]string{true: " all"}[o.Everywhere])
}

func (n *noticed) take() string {
	all := strings.Join(n.all, ", ")
	n.all = nil
	return all
}

// Of who is there homes know the clients of all nodes, and what they learn by a list is not told as news.
func TestAnObserverIsToldOfUsersOnAllNodes(t *testing.T) {
	hs, _, in := accompanied(t, 2, 256, 3)
	n := &noticed{}
	hs.SetObserver(n)
	ctx, p := t.Context(), &part{name: "0g"}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "ann"), false)) }, ""}, // it is so already
		{func() { userAs(hs, 0, OpJoin, p, numbered(0, 1), "ann", nil) }, ""},
		{func() { must(t, in.Away(ctx, "0g", 1, 7, true)) }, ""},
		{func() { userAs(hs, 0, OpGone, p, numbered(0, 1), "", nil) }, "went ann all, vacated all"},
		{func() { userAs(hs, 0, OpGone, p, numbered(0, 1), "", nil) }, ""}, // is not there
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "ann"), true)) }, "occupied all, came ann all"},
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 7, "bob"), true)) }, "went ann all, came bob all"},
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 8, "bob"), true)) }, ""},
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 9, ""), true)) }, ""},
		{func() { userAs(hs, 1, OpJoin, &part{name: "0g"}, numbered(1, 2), "", nil) }, ""},
		{func() { userAs(hs, 1, OpJoin, &part{name: "1g"}, numbered(1, 2), "eve", nil) }, "occupied all, came eve all"},
		{func() { must(t, in.There(ctx, "0g", 1, 1, farAway(1, 10, "dan"), true)) }, "came dan all"}, // too many to be listed
		{func() { must(t, in.Sweep(ctx, 1, 2, true)) }, "2 went, 0 vacated"},
	} {
		n.take()
		step.do()
		got := n.take()
		if strings.HasPrefix(step.want, "2 ") { // in any order
			got = fmt.Sprintf("%d went, %d vacated", strings.Count(got, "went bob all")+strings.Count(got, "went dan all"), strings.Count(got, "vacated"))
		}
		if got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	must(t, wrong(hs))
}

func TestAClientEventIsObservedWhereItsClientIs(t *testing.T) {
	hs, n := newTable(1, 16), &noticed{}
	hs.SetObserver(n)
	for more, want := range map[*dialect.More]string{
		nil:                                  "",
		{ClientEvent: true, Except: 64}:      "said",
		{ClientEvent: true, ExceptName: "x"}: "", // of another node
		{Except: 64}:                         "", // of a backend
	} {
		r := publishTo("0g", "x")
		r.Message.More = more
		hs.Lanes(0).Offer(0, r)
		hs.Lanes(0).Host()
		if got := n.take(); got != want {
			t.Errorf("%+v: got %q, want %q", more, got, want)
		}
	}
}

// follower is an observer that knows from what it is told who is there, and finds what cannot be told.
type follower struct {
	t        *testing.T
	occupied bool
	users    map[string]bool
	told     int
}

func (f *follower) Observe(_ int, o Observation) {
	f.told++
	switch is := f.users[o.User]; {
	case o.What == Occupied && !f.occupied, o.What == Vacated && f.occupied && len(f.users) == 0:
		f.occupied = o.What == Occupied
	case o.What == UserCame && !is && f.occupied:
		f.users[o.User] = true
	case o.What == UserWent && is:
		delete(f.users, o.User)
	default:
		f.t.Errorf("told %+v with users %v, occupied %v", o, f.users, f.occupied)
	}
}

func TestAnObserverKnowsWhoIsThere(t *testing.T) {
	told := 0
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 17))
		hs, _, in := accompanied(t, 2, 256, 1+random.IntN(10))
		f, ctx := &follower{t: t, users: map[string]bool{}}, t.Context()
		hs.SetObserver(f)
		parts := []*part{{name: "0g"}, {name: "0g"}}
		there := map[string]string{} // users by their clients
		for range 300 {
			loop, serial, user := random.IntN(3), random.IntN(2), []string{"", "ann", "bob", "eve"}[random.IntN(4)]
			name := fmt.Sprint(loop, " ", serial)
			_, is := there[name]
			switch goes := random.IntN(2) == 0; {
			case loop == 2 && goes:
				must(t, in.Away(ctx, "0g", 1, uint64(serial), true))
				delete(there, name)
			case loop == 2:
				must(t, in.There(ctx, "0g", 1, 1, farAway(1, uint64(serial), user), true))
				there[name] = user
			case !is:
				userAs(hs, loop, OpJoin, parts[loop], numbered(loop, serial+1), user, nil)
				there[name] = user
			case goes:
				userAs(hs, loop, OpGone, parts[loop], numbered(loop, serial+1), "", nil)
				delete(there, name)
			default:
				userAs(hs, loop, OpHere, parts[loop], numbered(loop, serial+1), user, nil)
				there[name] = user
			}
			moves(hs, 0)
			moves(hs, 1)
			want := map[string]bool{}
			for _, user := range there {
				if user != "" {
					want[user] = true
				}
			}
			if f.occupied != (len(there) > 0) || !maps.Equal(f.users, want) {
				t.Fatalf("seed %d: told of %v, occupied %v; want %v", seed, f.users, f.occupied, there)
			}
		}
		told += f.told
		must(t, wrong(hs))
	}
	if told < 1000 {
		t.Errorf("got %d told, want many", told)
	}
}
