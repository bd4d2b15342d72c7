package loop

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheFirstKindThatMatchesTheWholeNameCounts(t *testing.T) {
	b := &bounds{Limits: Limits{MembersMax: 9, Kinds: []Kind{
		{Match: "chat:*:old", MembersMax: 1}, {Match: "chat:*", MembersMax: 2}, {Match: "open:*"}, {Match: "exact", MembersMax: 3}, {Match: "*組*", MembersMax: 4},
	}}}
	for name, want := range map[string]int{
		"chat:1:old": 1, "chat::old": 1, "chat:1:older": 2, "chat:": 2, "chat": 9, "my chat:1": 9, "open:1": 0, "exact": 3, "exactly": 9,
		"組": 4, "a組b": 4, "a": 9,
	} {
		if got := b.kindOf(name).MembersMax; got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

func TestAKindSaysHowMuchIsKeptOfItsGroupsAndForHowLong(t *testing.T) {
	b := &bounds{Limits: Limits{History: 9, HistoryTTL: time.Minute, Kinds: []Kind{
		{Match: "chat:*", History: 100, HistoryTTL: 10 * time.Minute}, {Match: "plain:*"}, {Match: "short", History: 1},
	}}}
	for name, want := range map[string]struct {
		messages int
		ttl      time.Duration
	}{
		"chat:1": {100, 10 * time.Minute}, "plain:1": {0, time.Minute}, "short": {1, time.Minute}, "other": {9, time.Minute},
	} {
		if messages, ttl := b.historyOf(name); messages != want.messages || ttl != ticks(want.ttl) {
			t.Errorf("%s: got %d messages for %d ticks, want %d for %d", name, messages, ttl, want.messages, ticks(want.ttl))
		}
	}
	none := defaultBounds()
	if messages, _ := none.historyOf("chat:1"); messages != 0 {
		t.Errorf("by default: got %d messages, want none", messages)
	}
}

// What no kind matches has every setting of a kind from Limits.
func TestAGroupThatNoKindMatchesHasAllThatLimitsSay(t *testing.T) {
	var l Limits
	want := Kind{Match: allNames}
	from, kind := reflect.ValueOf(&l).Elem(), reflect.ValueOf(&want).Elem()
	for i := range kind.NumField() {
		name := kind.Type().Field(i).Name
		if name == "Match" || name == "JoinSaid" || name == "PublishSaid" {
			continue // these are of a kind alone
		}
		if !from.FieldByName(name).IsValid() {
			t.Errorf("%s: got no field of Limits, want one for groups that no kind matches", name)
			continue
		}
		for _, field := range []reflect.Value{kind.Field(i), from.FieldByName(name)} {
			switch {
			case field.CanInt():
				field.SetInt(int64(i))
			case field.CanUint():
				field.SetUint(uint64(i))
			default:
				field.SetBool(true)
			}
		}
	}
	if got := (&bounds{Limits: l}).kindOf("a"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := l.AllKinds(); len(got) != 1 || got[0] != want {
		t.Errorf("all kinds: got %+v, want %+v alone", got, want)
	}
}

func TestAllKindsEndWithTheOneThatMatchesEveryName(t *testing.T) {
	l := Limits{History: 5, HistoryTTL: time.Minute, Publish: Members, Kinds: []Kind{{Match: "chat:*", Join: Users}, {Match: "news", HistoryTTL: time.Hour}}}
	want := []Kind{{Match: "chat:*", HistoryTTL: time.Minute, Join: Users}, {Match: "news", HistoryTTL: time.Hour},
		{Match: "*", History: 5, HistoryTTL: time.Minute, Publish: Members}}
	if got := l.AllKinds(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	l.Kinds = append(l.Kinds, Kind{Match: "*", Presence: true}, Kind{Match: "never reached"})
	want[2] = Kind{Match: "*", HistoryTTL: time.Minute, Presence: true}
	if got := l.AllKinds(); !slices.Equal(got, want) {
		t.Errorf("with a kind for every name: got %+v, want %+v", got, want)
	}
}

func TestAKindBoundsTheMembersOfItsGroupsOnAllLoops(t *testing.T) {
	s := startServer(t, Config{Loops: 2, Limits: Limits{MembersMax: 1, Kinds: []Kind{{Match: "pair:*", MembersMax: 2}, {Match: "open:*"}}}})
	join := func(group string) string {
		p := dial(t, s)
		p.say(`{"cmd":"add_group","group_id":%q,"id":1}`, group)
		_, answer, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	for group, most := range map[string]int{"other": 1, "pair:1": 2, "open:1": 5} {
		for range most {
			if got := join(group); got != `{"id":1,"ok":true}` {
				t.Errorf("%s: got %s, want to be in it", group, got)
			}
		}
	}
	for _, group := range []string{"other", "pair:1"} {
		if got := join(group); !strings.Contains(got, `"code":"group_full"`) {
			t.Errorf("%s: got %s, want group_full", group, got)
		}
	}
	if err := s.Apply(context.Background(), Limits{MembersMax: 1, Kinds: []Kind{{Match: "pair:*", MembersMax: 3}}}); err != nil {
		t.Fatal(err)
	}
	if got := join("pair:1"); got != `{"id":1,"ok":true}` {
		t.Errorf("after a change: got %s, want to be in it", got)
	}
	if got := join("open:1"); !strings.Contains(got, `"code":"group_full"`) {
		t.Errorf("after its kind has gone: got %s, want group_full", got)
	}
}

// historyOf is how many messages of a group are kept, and for how many ticks.
func (b *bounds) historyOf(group string) (messages int, ttlTicks uint32) {
	kind := b.orderKind(group)
	return kind.Messages, kind.TTL
}
