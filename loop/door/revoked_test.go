package door

import (
	"errors"
	"fmt"
	"maps"
	"testing"
)

// revoke is Revoke where there is room.
func revoke(t *testing.T, r *Revoked, user string, before, now int64) {
	t.Helper()
	if err := r.Revoke(user, before, now); err != nil {
		t.Fatal(err)
	}
}

func TestTokensIssuedBeforeTheirRevocationAreRefused(t *testing.T) {
	r := NewRevoked()
	if r.Refuses("ann", 0) {
		t.Error("before anybody was revoked ann is refused")
	}
	revoke(t, r, "ann", 1000, 1000)
	revoke(t, r, "ann", 900, 1000) // changes nothing
	revoke(t, r, "", 1000, 1000)
	for _, test := range []struct {
		user   string
		issued int64
		want   bool
	}{{"ann", 999, true}, {"ann", 0, true}, {"ann", 1000, false}, {"ann", 1001, false}, {"bob", 0, false}, {"", 0, false}} {
		if got := r.Refuses(test.user, test.issued); got != test.want {
			t.Errorf("%q, issued at %d: got refused %v, want %v", test.user, test.issued, got, test.want)
		}
	}
	revoke(t, r, "ann", 2000, 1500)
	if got := maps.Collect(r.All()); len(got) != 1 || got["ann"] != 2000 || r.Before("ann") != 2000 || r.Before("bob") != 0 {
		t.Errorf("got %v, and %d of ann, %d of bob; want ann at 2000 alone", got, r.Before("ann"), r.Before("bob"))
	}
	if !r.Refuses("ann", 1999) || r.Refuses("ann", 2000) || r.Len() != 1 {
		t.Errorf("revoked again: want the later moment, and one entry, of %d", r.Len())
	}
}

func TestARevocationGoesWhenNoTokenCanBeAliveThatItRefuses(t *testing.T) {
	const day = revokedMin
	for what, test := range map[string]struct {
		saw  []Token
		last int64 // the second at which it is still there
	}{
		"no token was seen":             {nil, 1000 + day},
		"short ones":                    {[]Token{{IssuedAt: 100, Expires: 400}}, 1000 + day},
		"one of ten days":               {[]Token{{IssuedAt: 100, Expires: 400}, {IssuedAt: 100, Expires: 100 + 10*day}, {IssuedAt: 100, Expires: 900}}, 1000 + 10*day},
		"one that does not say when":    {[]Token{{Expires: 1000 + 5*day}}, 1000 + 5*day},
		"one that never ends, and ends": {[]Token{{IssuedAt: 100}, {IssuedAt: 100, Expires: 400}}, -1},
	} {
		r := NewRevoked()
		revoke(t, r, "ann", 1000, 1000)
		for i := range test.saw {
			r.Saw(&test.saw[i], 1000)
		}
		at := func(now int64) bool {
			revoke(t, r, "ann", 0, now) // which looks through her stripe, and changes nothing while she is there
			return r.Refuses("ann", 999)
		}
		if test.last < 0 {
			if !at(1000 + 1000*day) {
				t.Errorf("%s: it has gone, want it to stay", what)
			}
			continue
		}
		if !at(test.last) {
			t.Errorf("%s: it has gone at %d already", what, test.last)
		}
		if at(test.last + revokedSweeps + 1) {
			t.Errorf("%s: it is there at %d, want it gone", what, test.last+revokedSweeps+1)
		}
	}
}

func TestARevocationBeyondTheBoundIsRefusedAndNoneIsForgottenForIt(t *testing.T) {
	r := NewRevoked()
	for i := range RevokedMax {
		revoke(t, r, fmt.Sprint(i), 1000, 1000)
	}
	if err := r.Revoke("one more", 1000, 1000); !errors.Is(err, ErrRevokedFull) || r.Refuses("one more", 1) || r.Len() != RevokedMax {
		t.Errorf("got %v and %d entries, want it refused", err, r.Len())
	}
	revoke(t, r, "7", 2000, 1000) // who is there already takes no room
	if !r.Refuses("7", 1999) || !r.Refuses("0", 999) {
		t.Error("who was there is forgotten")
	}
	now := int64(1002 + revokedMin) // all are over but 7
	for range addressStripes {
		revoke(t, r, "one more", now, now)
	}
	if r.Len() != 2 || !r.Refuses("one more", 1001) || !r.Refuses("7", 1999) || r.Refuses("0", 999) {
		t.Errorf("when all but 7 are over: got %d entries, want one more and 7", r.Len())
	}
}
