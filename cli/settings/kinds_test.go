package settings

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ringcast/loop"
	"ringcast/loop/door"
)

func TestKindsOfGroupsHaveTheirOwnBoundsAndElseTheFlags(t *testing.T) {
	for _, c := range []struct {
		groups string
		args   []string
		want   []loop.Kind
	}{
		{`[{"match": "chat:*", "members-max": 100}, {"match": "plain:*"}]`, nil, []loop.Kind{{Match: "chat:*", MembersMax: 100}, {Match: "plain:*"}}},
		{`[{"match": "chat:*", "members-max": 100}, {"match": "plain:*"}]`, []string{"--members-max", "7"}, []loop.Kind{{Match: "chat:*", MembersMax: 100}, {Match: "plain:*", MembersMax: 7}}},
		{`[{"match": "a", "members-max": "off"}, {"members-max": "5", "match": "*"}]`, []string{"--members-max", "7"}, []loop.Kind{{Match: "a"}, {Match: "*", MembersMax: 5}}},
		{`[{"match": "a**b***"}, {"match": "*a"}, {"match": "a*b"}]`, nil, []loop.Kind{{Match: "a*b*"}, {Match: "*a"}, {Match: "a*b"}}},
		{`[{"match": "` + strings.Repeat("x", 1_024) + `"}, {"match": "ä.[a-z]?\\"}]`, nil, []loop.Kind{{Match: strings.Repeat("x", 1_024)}, {Match: `ä.[a-z]?\`}}},
		{`[{"match": "a", "history": 100, "history-ttl": "10m"}, {"match": "b", "history": "7"}, {"match": "c", "history-ttl": "24h"}]`, nil,
			[]loop.Kind{{Match: "a", History: 100, HistoryTTL: 10 * time.Minute}, {Match: "b", History: 7}, {Match: "c", HistoryTTL: 24 * time.Hour}}},
		{`[{"match": "a", "history": "off"}, {"match": "b", "history": 0}, {"match": "c", "history": "0", "history-ttl": "1s"}, {"match": "d"}, {"match": "e", "history": 100000}]`,
			[]string{"--members-max", "7", "--history", "50", "--history-ttl", "1h"},
			[]loop.Kind{{Match: "a", MembersMax: 7, HistoryTTL: time.Hour}, {Match: "b", MembersMax: 7, HistoryTTL: time.Hour},
				{Match: "c", MembersMax: 7, HistoryTTL: time.Second}, {Match: "d", MembersMax: 7, History: 50, HistoryTTL: time.Hour},
				{Match: "e", MembersMax: 7, History: 100_000, HistoryTTL: time.Hour}}},
		{`[{"match": "a", "presence": true, "join-leave": "all", "join": "user", "publish": "member"}, {"match": "b", "presence": "on", "join-leave": "off", "join": "token", "publish": "server"},
			{"match": "c", "presence": false, "join": "anyone", "publish": "token"}, {"match": "d", "publish": "user"}]`, nil,
			[]loop.Kind{{Match: "a", Presence: true, JoinLeave: loop.HearAll, Join: loop.Users, Publish: loop.Members, JoinSaid: true, PublishSaid: true},
				{Match: "b", Presence: true, JoinLeave: loop.HearNone, Join: loop.Tokens, Publish: loop.Servers, JoinSaid: true, PublishSaid: true},
				{Match: "c", Publish: loop.Tokens, JoinSaid: true, PublishSaid: true}, {Match: "d", Publish: loop.Users, PublishSaid: true}}},
		{`[{"match": "a", "presence": "off", "join-leave": "asked", "join": "anyone", "publish": "anyone"}, {"match": "b"}]`,
			[]string{"--presence", "on", "--join-leave", "all", "--join", "token", "--publish", "server"},
			[]loop.Kind{{Match: "a", JoinSaid: true, PublishSaid: true}, {Match: "b", Presence: true, JoinLeave: loop.HearAll, Join: loop.Tokens, Publish: loop.Servers}}},
		{`[]`, nil, nil},
		{entries(1_000), nil, nil},
	} {
		s, err := parseConfig(`{"groups": `+c.groups+`}`, c.args...)
		for i := range c.want {
			c.want[i].HistoryTTL = cmp.Or(c.want[i].HistoryTTL, 5*time.Minute) // the flag's
		}
		if err != nil || c.want != nil && !slices.Equal(s.Loop.Kinds, c.want) {
			t.Errorf("%.200s with %q: got %v, %v, want %v", c.groups, c.args, s.Loop.Kinds, err, c.want)
		}
		flags, err := parseConfig("{}", c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if s.Loop.Kinds = nil; !reflect.DeepEqual(s.Loop.Limits, flags.Loop.Limits) {
			t.Errorf("%.200s with %q: got %+v for all others, want the flags' %+v", c.groups, c.args, s.Loop.Limits, flags.Loop.Limits)
		}
	}
}

// entries are as many kinds, all different.
func entries(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`{"match": "%d:*"}`, i)
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestWrongKindsOfGroupsAreNamedWithTheMend(t *testing.T) {
	for _, c := range []struct{ groups, want string }{
		{`{"match": "a"}`, `key "groups" is not an array; write an array of objects, such as [{"match": "chat:*", "members-max": 100}]`},
		{`null`, `key "groups" is not an array; write an array of objects`},
		{`"a"`, `key "groups" is not an array; write an array of objects`},
		{`[{"match": "a"}, "b"]`, `entry 2 of "groups" is not an object; use for example {"match": "chat:*", "members-max": 100}`},
		{`[null]`, `entry 1 of "groups" is not an object; use for example`},
		{`[{"members-max": 5}]`, `entry 1 of "groups" has no "match"; say which groups it is for, such as "match": "chat:*"`},
		{`[{"match": null}]`, `entry 1 of "groups" has "match" null; write a pattern of names in quotes`},
		{`[{"match": 5}]`, `entry 1 of "groups" has "match" 5; write a pattern of names in quotes`},
		{`[{"match": ""}]`, `entry 1 of "groups" has an empty "match"; write a pattern of names, such as "chat:*"`},
		{`[{"match": "` + strings.Repeat("x", 1_025) + `"}]`, `entry 1 of "groups" has a "match" of 1025 bytes, more than the 1024 allowed; shorten it with *`},
		{"[{\"match\": \"a\xff\"}]", "is not UTF-8 (line 1); save it as UTF-8"},
		{`[{"match": "a", "match": "b"}]`, `entry 1 of "groups" has the key "match" twice; write it once`},
		{`[{"match": "a", "member-max": 5}]`, `entry 1 of "groups" has an unknown key "member-max"; did you mean "members-max"? The keys are match, members-max, history, history-ttl, presence, join-leave, join, publish`},
		{`[{"match": "a", "histroy": 5}]`, `entry 1 of "groups" has an unknown key "histroy"; did you mean "history"?`},
		{`[{"match": "a", "history_ttl": "5m"}]`, `entry 1 of "groups" has an unknown key "history_ttl"; did you mean "history-ttl"?`},
		{`[{"match": "a", "history-max": "1GiB"}]`, `entry 1 of "groups" has an unknown key "history-max"; did you mean "history-ttl"?`},
		{`[{"match": "a", "history": 5, "history": 6}]`, `entry 1 of "groups" has the key "history" twice; write it once`},
		{`[{"Match": "a"}]`, `entry 1 of "groups" has an unknown key "Match"; did you mean "match"?`},
		{`[{"match": "a"}, {"match": "b"}, {"match": "a"}]`, `entry 3 of "groups" ("a") has the pattern of entry 1; leave one of them off`},
		{`[{"match": "a*"}, {"match": "a**"}]`, `entry 2 of "groups" ("a*") has the pattern of entry 1; leave one of them off`},
		{`[{"match": "*"}, {"match": "*"}]`, `entry 2 of "groups" ("*") has the pattern of entry 1; leave one of them off`},
		{`[{"match": "b"}, {"match": "**"}, {"match": "a"}]`, `entry 3 of "groups" ("a") is never reached, since "*" in entry 2 matches every name; put it before that entry`},
		{`[{"match": "a", "members-max": 0}]`, `entry 1 of "groups" ("a") has members-max 0, which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "a", "members-max": "many"}]`, `has members-max "many", which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "a", "members-max": 1.5}]`, `has members-max 1.5, which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "a", "members-max": null}]`, `has members-max null, which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "a", "members-max": [5]}]`, `has members-max [5], which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "a", "members-max": 1000000001}]`, `has members-max 1000000001, which must be a whole number from 1 to 1000000000, or off`},
		{`[{"match": "b"}, {"match": "a", "history": -1}]`, `entry 2 of "groups" ("a") has history -1, which must be a whole number from 0 to 100000, or off`},
		{`[{"match": "a", "history": 100001}]`, `has history 100001, which must be a whole number from 0 to 100000, or off`},
		{`[{"match": "a", "history": "10m"}]`, `has history "10m", which must be a whole number from 0 to 100000, or off`},
		{`[{"match": "a", "history": true}]`, `has history true, which must be a whole number from 0 to 100000, or off`},
		{`[{"match": "a", "history": null}]`, `has history null, which must be a whole number from 0 to 100000, or off`},
		{`[{"match": "b"}, {"match": "a", "history-ttl": 600}]`, `entry 2 of "groups" ("a") has history-ttl 600, which has no unit; write 600s for seconds`},
		{`[{"match": "a", "history-ttl": "0"}]`, `has history-ttl "0", which is out of bounds; write a duration from 1s to 24h`},
		{`[{"match": "a", "history-ttl": "999ms"}]`, `has history-ttl "999ms", which is out of bounds; write a duration from 1s to 24h`},
		{`[{"match": "a", "history-ttl": "24h1s"}]`, `has history-ttl "24h1s", which is out of bounds; write a duration from 1s to 24h`},
		{`[{"match": "a", "history-ttl": "off"}]`, `has history-ttl "off", which is not a duration; write one such as 10s, 500ms or 2m`},
		{`[{"match": "a", "history-ttl": {"s": 5}}]`, `has history-ttl {"s": 5}, which is not a duration; write one such as 10s, 500ms or 2m`},
		{`[{"match": "b"}, {"match": "a", "presence": "yes"}]`, `entry 2 of "groups" ("a") has presence "yes", which must be off or on`},
		{`[{"match": "a", "presence": "true"}]`, `has presence "true", which must be off or on`},
		{`[{"match": "a", "presence": 1}]`, `has presence 1, which must be off or on`},
		{`[{"match": "a", "presence": null}]`, `has presence null, which must be off or on`},
		{`[{"match": "a", "join-leave": true}]`, `has join-leave true, which must be asked, off or all`},
		{`[{"match": "a", "join-leave": "on"}]`, `has join-leave "on", which must be asked, off or all`},
		{`[{"match": "a", "join": "member"}]`, `has join "member", which must be anyone, user or token`},
		{`[{"match": "a", "join": "-"}]`, `has join "-", which must be anyone, user or token`},
		{`[{"match": "a", "join": "server"}]`, `has join "server", which must be anyone, user or token`},
		{`[{"match": "a", "join": ["user"]}]`, `has join ["user"], which must be anyone, user or token`},
		{`[{"match": "a", "publish": "members"}]`, `has publish "members", which must be anyone, user, member, token or server`},
		{`[{"match": "a", "publish": ""}]`, `has publish "", which must be anyone, user, member, token or server`},
		{`[{"match": "a", "publish": "server", "publish": "anyone"}]`, `has the key "publish" twice; write it once`},
		{`[{"match": "a", "publishers": "server"}]`, `has an unknown key "publishers"; did you mean "publish"?`},
		{`[{"match": "a", "join_leave": "all"}]`, `has an unknown key "join_leave"; did you mean "join-leave"?`},
		{entries(1_001), `key "groups" has 1001 entries, more than the 1000 allowed; use patterns that match more names`},
	} {
		_, err := parseConfig(`{"groups": ` + c.groups + `}`)
		refused(t, fmt.Sprintf("%.80q", c.groups), err, "--config \""+configName+"\": ", c.want)
	}
}

func TestGroupsAreOfTheConfigFileAlone(t *testing.T) {
	if _, err := parse(t, "--groups", "[]"); err == nil || !strings.Contains(err.Error(), "unknown flag --groups") {
		t.Errorf("as a flag: got %v, want it unknown", err)
	}
	s, err := world{environ: []string{`RINGCAST_GROUPS=[{"match": "a"}]`}}.parse()
	if err != nil || s.Loop.Kinds != nil {
		t.Errorf("as a variable: got %v, %v, want no kinds", s.Loop.Kinds, err)
	}
	if got := UnknownVariables([]string{"RINGCAST_GROUPS=x"}); len(got) != 1 || !strings.Contains(got[0], "RINGCAST_GROUPS is set but is not a setting") {
		t.Errorf("as a variable: got %q, want it warned of", got)
	}
	if _, err = parseConfig(`{"xyzzy": 1}`); err == nil || !strings.Contains(err.Error(), ", groups, groups-max, ") {
		t.Errorf("the settings that there are: got %v, want groups among them", err)
	}
}

func TestOtherVerbsDoNotMindWrongKinds(t *testing.T) {
	w := world{config: `{"groups": 5, "run-dir": "/from/file"}`}
	var g struct {
		Globals
		Look struct{} `cmd:""`
	}
	if _, err := Parse(w.source(), &g, &g.Globals, []string{"look", "--config", configName}); err != nil || g.RunDir != "/from/file" {
		t.Errorf("got run dir %q, %v, want /from/file", g.RunDir, err)
	}
}

func TestChangedGroupsAreNamedAsTheyWereWritten(t *testing.T) {
	read := func(text string) *Settings {
		t.Helper()
		s, err := parseConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	s, one := read(`{"loops": 8}`), read(`{"groups": [ {"match": "a", "members-max": 5} ]}`)
	if text, has := s.Changeable()["groups"]; has {
		t.Errorf("settings without groups: got %q, want no such key", text)
	}
	next, changed, rest := s.Adopt(one)
	if len(changed) != 1 || changed[0].String() != `groups: none → [{"match":"a","members-max":5}]` || len(rest) != 0 {
		t.Errorf("got %v and %v, want groups changed, and nothing that needs a restart", changed, rest)
	}
	if got := next.Changeable()["groups"]; got != `[{"match":"a","members-max":5}]` {
		t.Errorf("settings with groups: got %q, want them as they were written", got)
	}
	if !slices.Equal(next.Loop.Kinds, []loop.Kind{{Match: "a", MembersMax: 5, HistoryTTL: 5 * time.Minute}}) {
		t.Errorf("kinds: got %v, want the new ones", next.Loop.Kinds)
	}
	if _, changed, _ = next.Adopt(read(`{"groups": [{"match":"a","members-max":5}]}`)); len(changed) != 0 {
		t.Errorf("the same with other white space: got %v, want no change", changed)
	}
	if _, changed, _ = next.Adopt(read(`{"groups": []}`)); len(changed) != 1 || changed[0].New != "" {
		t.Errorf("an empty list: got %v, want groups gone", changed)
	}
	if _, changed, _ = s.Adopt(read(`{"groups": []}`)); len(changed) != 0 {
		t.Errorf("an empty list where there was none: got %v, want no change", changed)
	}
	if next, _, _ = next.Adopt(s); next.Loop.Kinds != nil {
		t.Errorf("without groups: got %v, want no kinds", next.Loop.Kinds)
	}
}

func TestALongChangeIsToldShort(t *testing.T) {
	c := Change{"groups", strings.Repeat("ä", 1_000), ""}
	if got := c.String(); len(got) > 1_050 || !strings.HasSuffix(got, "ää… → none") || !utf8.ValidString(got) {
		t.Errorf("got %d bytes, %q, want about a thousand, cut between letters", len(got), got)
	}
}

// Any content of the file is either refused as a mistake or gives kinds that the loops can rely on.
func FuzzConfigFile(f *testing.F) {
	for _, text := range []string{`{"groups": [{"match": "chat:*", "members-max": 100}, {"match": "**"}]}`, `{"groups": null}`,
		`{"history": 5, "groups": [{"match": "chat:*", "history": "100", "history-ttl": "10m"}, {"match": "*", "history": "off"}]}`,
		`{"presence": true, "join": "token", "groups": [{"match": "a", "presence": false, "join-leave": "all", "join": "user", "publish": "member"}]}`,
		`{"pusher": ["3:k:s", {"id": 4, "key": "l", "secret": "t", "client-events": "off", "event-max": "1MiB"}]}`, `{"pusher": {"id": null}}`, `{"pusher": [[], "@x"]}`,
		`{"allowed-origins": ["null"], "loops": 4, "daemon": true}`, "null", `{"groups": [{"match": "\ud800"}]}`, "\xef\xbb\xbf{}\r\n", "\xff\xfe{\x00}\x00", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseConfig(text)
		if err != nil {
			refused(t, fmt.Sprintf("%q", text), err)
			return
		}
		for _, id := range s.Loop.Apps.IDs() {
			if a := s.Loop.Apps.ByID(id); a.Key == "" || a.Secret == "" || s.Loop.Apps.ByKey(a.Key) != a || a.ClientEventsPerSecond > door.AppClientEventsTop || a.EventBytesMax < 1 {
				t.Errorf("%q: got an app with wrong settings, %s", text, id)
			}
		}
		seen := map[string]bool{}
		for _, kind := range s.Loop.Kinds {
			if seen["*"] || seen[kind.Match] || kind.Match == "" || len(kind.Match) > patternBytesMax || !utf8.ValidString(kind.Match) ||
				strings.Contains(kind.Match, "**") || kind.MembersMax < 0 || kind.History < 0 || kind.History > 100_000 ||
				kind.HistoryTTL < time.Second || kind.HistoryTTL > 24*time.Hour ||
				kind.JoinLeave > loop.HearAll || kind.Join == loop.Members || kind.Join >= loop.Servers || kind.Publish > loop.Servers {
				t.Errorf("%q: got %+v in %v, want each reachable and within bounds", text, kind, s.Loop.Kinds)
			}
			seen[kind.Match] = true
		}
	})
}

func TestGroupsThatNoClientCanUseAreWarnedOf(t *testing.T) {
	for _, c := range []struct {
		config, join, publish string // empty: not warned of
		args                  []string
	}{
		{config: `{}`},
		{config: `{"groups": [{"match": "a", "publish": "member"}, {"match": "b", "publish": "server", "join": "anyone"}]}`},
		{config: `{"groups": [{"match": "a", "join": "user"}, {"match": "b", "join": "token", "publish": "user"}, {"match": "c", "publish": "token"}]}`,
			join: `"a", "b"`, publish: `"b", "c"`},
		{config: `{"groups": [{"match": "open:*", "join": "anyone"}]}`, args: []string{"--join", "token"}, join: `"*"`},
		{config: `{"groups": [{"match": "*", "join": "anyone"}]}`, args: []string{"--join", "token", "--publish", "user"}, publish: `"*"`},
		{config: `{"groups": [{"match": "1"}, {"match": "2"}, {"match": "3"}, {"match": "4"}, {"match": "5"}, {"match": "6"}, {"match": "*", "publish": "token"}]}`,
			args: []string{"--publish", "user"}, publish: `"1", "2", "3", "4", "5" and 2 more`},
	} {
		s, err := parseConfig(c.config, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if join, publish := s.OutOfReach(); join != c.join || publish != c.publish {
			t.Errorf("%s with %q: got %s and %s, want %s and %s", c.config, c.args, join, publish, c.join, c.publish)
		}
		warned := false
		for _, w := range s.Warnings() {
			if strings.Contains(w.Text, "no tokens are configured") {
				warned = slices.Equal(w.Attrs, []any{"join", c.join, "publish", c.publish})
			}
		}
		if warned != (c.join+c.publish != "") {
			t.Errorf("%s with %q: got warnings %v, want one with these kinds: %v", c.config, c.args, s.Warnings(), !warned)
		}
	}
}
