package cli

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// How many keys there are is shown, and whether those that are published elsewhere have come; what they are is not.
func TestStatusSaysHowManyKeysThereAreAndWhetherTheyHaveCome(t *testing.T) {
	const hidden = "hidden-hidden-hidden-hidden-hidden-hidden"
	good, dir := newIssuer(t, "a", "b"), shortDir(t)
	file := configWith(t, hidden+"1\n"+hidden+"2\n")
	v := serving(t, newFakeServer(), dir, "--api-key", hidden, "--token-secret", "@"+file, "--token-jwks", good.URL+"/jwks?secret="+hidden, "--pusher", "3:k:"+hidden)
	got := statusNow(t, dir).Keys
	if got.APIKeys != 1 || got.TokenSecrets != 2 || got.PusherApps != 1 || got.JWKS == nil || got.JWKS.From != good.URL+"/jwks" || got.JWKS.Keys != 2 || got.JWKS.Came.IsZero() || got.JWKS.Failure != "" {
		t.Errorf("status --json: got keys %+v and %+v, want one, two, an app, and two that have come", got, got.JWKS)
	}
	_, text, _ := do(t, "status", "--run-dir", dir.path)
	has(t, "status", text, "\nkeys     1 API key    2 token secrets    1 Pusher app    JWKS of 2 keys\n")
	_, json, _ := do(t, "status", "--json", "--run-dir", dir.path)
	if strings.Contains(v.out.String(), "The keys for tokens") {
		t.Errorf("banner: got %q, want no warning: they have come", v.out.String())
	}
	v.asked <- os.Interrupt
	v.exit(t) // the log is written beside the answers, and is whole at the end
	if all := text + json + v.out.String() + v.err.String(); strings.Contains(all, hidden) {
		t.Error("a key or secret is shown")
	}

	v = serving(t, newFakeServer(), dir)
	if got := statusNow(t, dir).Keys; got != (KeyStatus{}) {
		t.Errorf("without keys: got %+v, want none", got)
	}
	if _, text, _ := do(t, "status", "--run-dir", dir.path); strings.Contains(text, "\nkeys ") {
		t.Errorf("without keys: got %q, want no line of them", text)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestKeysThatCannotBeFetchedAreWarnedOfAtTheStartAndByAReload(t *testing.T) {
	bad, dir := newIssuer(t, "a"), shortDir(t)
	bad.answers(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	v := serving(t, newFakeServer(), dir, "--token-jwks", bad.URL+"/jwks?secret=hidden")
	want := fmt.Sprintf("WARNING: The keys for tokens are at %s/jwks, which cannot be fetched: the server answers 500; none have come yet, so tokens that need them are refused.\n", bad.URL)
	has(t, "banner", v.out.String(), want)
	if _, stdout, _ := do(t, "reload", "--run-dir", dir.path); stdout != "nothing changed\n"+want {
		t.Errorf("reload: got %q, want the warning of the start too", stdout)
	}
	if got := statusNow(t, dir).Keys.JWKS; got == nil || got.Keys != 0 || !got.Came.IsZero() || !strings.Contains(got.Failure, "the server answers 500") {
		t.Errorf("status: got %+v, want none, and why", got)
	}
	_, text, _ := do(t, "status", "--run-dir", dir.path)
	has(t, "status", text, "\nkeys     JWKS of 0 keys, which cannot be fetched: the server answers 500\n")
	v.asked <- os.Interrupt
	v.exit(t)
}

// A reload gives the loops other apps; neither its list nor the log nor the banner shows their secrets.
func TestAReloadHasTheLoopsTakeOtherApps(t *testing.T) {
	const hidden = "hidden-hidden-hidden"
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"pusher": ["3:k:`+hidden+`"]}`)
	v := serving(t, f, dir, "--config", config)
	has(t, "banner", v.out.String(), "\nPusher apps: 3.\n")
	if apps := f.cfg.Apps; apps.Len() != 1 || apps.ByKey("k") == nil {
		t.Errorf("at the start: got %v, want the app", apps.IDs())
	}
	rewrite(t, config, `{"pusher": ["3:k:`+hidden+`", {"id": "4", "key": "l", "secret": "short-`+hidden[:6]+`", "client-events": "off"}]}`)
	_, stdout, _ := do(t, "reload", "--run-dir", dir.path)
	has(t, "reload", stdout, "pusher: 1 secret → 2 secrets\n", "WARNING: Secrets of --pusher shorter than 16 bytes: 1.")
	applied := f.limitsApplied()
	if len(applied) != 1 || applied[0].Apps.Len() != 2 || applied[0].Apps.ByKey("l").ClientEventsPerSecond != 0 {
		t.Errorf("limits applied: got %+v, want once two apps", applied)
	}
	v.asked <- os.Interrupt
	v.exit(t) // the log is written beside the reload, and is whole at the end
	has(t, "log", v.err.String(), "pusher: 1 secret → 2 secrets", "Secrets of --pusher shorter")
	if all := stdout + v.out.String() + v.err.String(); strings.Contains(all, "hidden") {
		t.Error("a secret is shown")
	}
}

// Whoever changes the file sees what a start with it would say.
func TestAReloadPrintsTheWarningsOfAStart(t *testing.T) {
	dir, config := shortDir(t), configWith(t, `{}`)
	v := serving(t, newFakeServer(), dir, "--config", config)
	rewrite(t, config, `{"api-key": "short", "join": "user"}`)
	_, stdout, _ := do(t, "reload", "--run-dir", dir.path)
	has(t, "reload", stdout, "api-key: none → 1 secret\n", "WARNING: No client can join groups of the kinds", "WARNING: Keys of --api-key shorter than 16 bytes: 1.")
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestASecretTooManyIsNotShown(t *testing.T) {
	status, stdout, stderr := do(t, "start", "--api-key", "K1", "K2-of-an-operator")
	if status != statusUsage || strings.Contains(stdout+stderr, "K2-of-an-operator") {
		t.Errorf("got exit status %d and %q, want %d and nothing of the word", status, stdout+stderr, statusUsage)
	}
	has(t, "message", stderr, "a word too many")
}
