package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
)

// The kinds in a status are those that the loops work with, so a reload changes them.
func TestStatusShowsTheKindsInForce(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"join": "user"}`)
	v := serving(t, f, dir, "--config", config)
	kinds := statusNow(t, dir).Kinds
	if len(kinds) != 1 || kinds[0]["match"] != "*" || kinds[0]["join"] != "user" || kinds[0]["history-ttl"] != "5m" {
		t.Errorf("without kinds: got %v, want the one of all groups, as the options say", kinds)
	}
	has(t, "banner", v.out.String(), `WARNING: No client can join groups of the kinds "*": they are for clients with a token, and no tokens are configured.`)

	rewrite(t, config, `{"presence": true, "groups": [{"match": "chat:*", "presence": false, "publish": "member"}, {"match": "locked", "publish": "token"}]}`)
	if status, _, stderr := do(t, "reload", "--run-dir", dir.path); status != 0 {
		t.Fatalf("reload: got exit status %d: %s", status, stderr)
	}
	var got []string
	for _, kind := range statusNow(t, dir).Kinds {
		got = append(got, fmt.Sprint(kind["match"], " ", kind["presence"], " ", kind["join"], " ", kind["publish"]))
	}
	if want := "chat:* off anyone member, locked on anyone token, * on anyone anyone"; strings.Join(got, ", ") != want {
		t.Errorf("after a reload: got %v, want %s", got, want)
	}
	_, stdout, _ := do(t, "status", "--run-dir", dir.path)
	has(t, "status", stdout, "KINDS OF GROUPS", "\nmatch ", "\nchat:* ", "  member  durable\n")
	v.asked <- os.Interrupt
	v.exit(t) // the log is written beside the answers, and is whole at the end
	has(t, "log", v.err.String(), "level=WARN", "no client can join or publish to", `join="\"*\"" publish=""`, `publish="\"locked\""`)

	s, err := parse(t, "--run-dir", "/r", "--publish", "token")
	if err != nil {
		t.Fatal(err)
	}
	has(t, "banner", strings.Join(warnings(&s, nil, s.Admin, nil, &keyFetcher{}), "\n"), `No client can publish to groups of the kinds "*": they are for clients with a token, and no tokens are configured.`)
}

func TestATableOfManyKindsIsShort(t *testing.T) {
	limits := loop.Limits{HistoryTTL: time.Minute}
	for i := range 1_000 {
		limits.Kinds = append(limits.Kinds, loop.Kind{Match: fmt.Sprintf("kind-%d:*", i+1), History: i + 1})
	}
	limits.Kinds[0].Match = "two\nlines\x1b[2J" + strings.Repeat("x", 1_000)
	text := kindTexts(limits.AllKinds()).text()
	has(t, "table", text, "\ntwo\ufffdlines\ufffd[2Jxxx", "xxx…  ", "\nkind-19:* ", "\n* ", "\nThere are 981 more before the last; --json has them.\n")
	if lines := strings.Count(text, "\n"); lines != 3+20+1 || strings.Contains(text, "kind-20:") {
		t.Errorf("got %d lines, want 20 kinds, in\n%s", lines, text)
	}
	limits.Kinds = limits.Kinds[:19] // and the one of all others
	if text = kindTexts(limits.AllKinds()).text(); strings.Count(text, "\n") != 3+20 || strings.Contains(text, "There are") {
		t.Errorf("of 20 kinds: got\n%s\nwant each", text)
	}
	if got := kindsInForce(nil).text(); got != "" {
		t.Errorf("of a server that tells of none: got %q, want nothing", got)
	}
}
