package loop

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"ringcast/dialect"
)

// defaultBounds are those of an operator who says nothing.
func defaultBounds() bounds {
	var l Limits
	if err := l.fill(); err != nil {
		panic(err)
	}
	return *l.bounds()
}

func TestLimitsThatNobodySetHaveTheirDefaults(t *testing.T) {
	var got Limits
	if err := got.fill(); err != nil {
		t.Fatal(err)
	}
	want := Limits{
		MessageBytesMax: 1 << 20, MessageTimeout: 2 * time.Minute, GroupBytesMax: dialect.GroupBytesMax, GroupsPerClient: 1024,
		HistoryTTL: 5 * time.Minute, RecoveryMax: 1000, HandshakeBytesMax: 16 << 10, HandshakeTimeout: 10 * time.Second, HandshakesMax: 100_000, CompressionMin: 256, OutboxBytesMax: 1 << 20,
		Heartbeat: time.Minute, SlowTurn: 100 * time.Millisecond,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	off := Limits{MessageTimeout: -1, Heartbeat: -1, SlowTurn: -1}
	if err := off.fill(); err != nil {
		t.Fatal(err)
	}
	if b := off.bounds(); b.messageTicks != 0 || b.heartbeatTicks != 0 || b.slowTurnNanos != 0 {
		t.Errorf("off: got %d, %d ticks and %d ns, want 0", b.messageTicks, b.heartbeatTicks, b.slowTurnNanos)
	}
}

func TestALimitBeyondItsOwnLimitIsAnErrorThatNamesIt(t *testing.T) {
	all := reflect.TypeFor[Limits]()
	for i := range all.NumField() {
		f := all.Field(i)
		zero := reflect.New(all).Elem()
		if !zero.Field(i).CanInt() {
			continue
		}
		least, hasLeast := f.Tag.Lookup("min")
		if !hasLeast && f.Type != reflect.TypeFor[time.Duration]() {
			t.Errorf("%s: got no least value, want one: only times are off below zero", f.Name)
		}
		refused := func(value int64) {
			t.Helper()
			l := reflect.New(all)
			l.Elem().Field(i).SetInt(value)
			if err := l.Interface().(*Limits).fill(); err == nil || !strings.HasPrefix(err.Error(), f.Name+": ") {
				t.Errorf("%s of %d: got %v, want an error that names it", f.Name, value, err)
			}
		}
		if hasLeast {
			refused(min(amount(least), 0) - 1)
		}
		if most := f.Tag.Get("max"); most != "" {
			refused(amount(most) + 1)
		}
	}
	for _, c := range []struct {
		kind Kind
		want string // none: it is allowed
	}{
		{Kind{Match: "a", MembersMax: -1}, `kinds: "a": MembersMax: -1 is less than 0`},
		{Kind{Match: "a", History: -1}, `kinds: "a": History: -1 is less than 0`},
		{Kind{Match: "a", History: 100_001}, `kinds: "a": History: 100001 is more than 100000`},
		{Kind{Match: "a", HistoryTTL: time.Second - 1}, `kinds: "a": HistoryTTL: 999.999999ms is less than 1s`},
		{Kind{Match: "a", HistoryTTL: 24*time.Hour + 1}, `kinds: "a": HistoryTTL: 24h0m0.000000001s is more than 24h`},
		{Kind{Match: "a", MembersMax: 1, History: 100_000, HistoryTTL: 24 * time.Hour}, ""},
		{Kind{Match: "a", HistoryTTL: time.Second}, ""},
		{Kind{Match: "a", Join: Members}, `kinds: "a": Join: 2 is not Anyone, Users or Tokens`},
		{Kind{Match: "a", Join: Servers}, `kinds: "a": Join: 4 is not Anyone, Users or Tokens`},
		{Kind{Match: "a", Publish: Servers + 1}, `kinds: "a": Publish: 5 is not Anyone, Users, Members, Tokens or Servers`},
		{Kind{Match: "a", JoinLeave: HearAll + 1}, `kinds: "a": JoinLeave: 3 is not HearAsked, HearNone or HearAll`},
		{Kind{Match: "a", Presence: true, JoinLeave: HearAll, Join: Tokens, Publish: Servers}, ""},
		{Kind{Match: "a", JoinLeave: HearNone, Join: Users, Publish: Members}, ""},
		{Kind{Match: "a"}, ""},
	} {
		l := Limits{Kinds: []Kind{{Match: "b"}, c.kind}}
		if err := l.fill(); (err != nil || c.want != "") && (err == nil || err.Error() != c.want) {
			t.Errorf("%+v: got %v, want %q", c.kind, err, c.want)
		}
	}
	for want, l := range map[string]Limits{
		"Join: 2 is not Anyone, Users or Tokens": {Join: Members}, "Join: 4 is not Anyone, Users or Tokens": {Join: Servers},
		"Publish: 5 is not Anyone, Users, Members, Tokens or Servers": {Publish: Servers + 1},
		"JoinLeave: 3 is not HearAsked, HearNone or HearAll":          {JoinLeave: HearAll + 1},
		"kinds: 1001 are more than 1000":                              {Kinds: make([]Kind, KindsMax+1)},
	} {
		if err := l.fill(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for _, l := range []Limits{{Join: Tokens, Publish: Servers, JoinLeave: HearAll, Presence: true}, {Kinds: make([]Kind, KindsMax)}} {
		if err := l.fill(); err != nil {
			t.Errorf("got %v, want it allowed", err)
		}
	}
	l := Limits{GroupBytesMax: dialect.GroupBytesMax + 1}
	if err := l.fill(); err == nil {
		t.Error("names of groups longer than the parser reads: got no error")
	}
}

func TestTicksRoundUp(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want uint32
	}{{tickPeriod, 2}, {tickPeriod + 1, 3}, {10 * time.Second, 51}} {
		if got := ticks(c.d); got != c.want {
			t.Errorf("ticks(%v): got %d, want %d", c.d, got, c.want)
		}
	}
}
