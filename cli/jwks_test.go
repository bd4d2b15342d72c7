package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringcast/loop/door"
)

// issuer makes tokens, and is the server on 127.0.0.1 at which its keys are.
type issuer struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey                  // by kid
	answer func(http.ResponseWriter, *http.Request) bool // false: the keys are answered; nil: they are
	asked  int
}

func newIssuer(t *testing.T, kids ...string) *issuer {
	i := &issuer{t: t, keys: map[string]*ecdsa.PrivateKey{}}
	i.has(kids...)
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	return i
}

// has gives the issuer keys, in place of those that it had.
func (i *issuer) has(kids ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	had := i.keys
	i.keys = map[string]*ecdsa.PrivateKey{}
	for _, kid := range kids {
		if i.keys[kid] = had[kid]; had[kid] == nil {
			i.keys[kid], _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
	}
}

// answers sets what is answered from now on.
func (i *issuer) answers(with func(http.ResponseWriter, *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = with
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked++
	answer := i.answer
	var keys []string
	for kid, key := range i.keys {
		point, _ := key.PublicKey.Bytes()
		keys = append(keys, fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":%q,"x":%q,"y":%q}`, kid, b64(point[1:33]), b64(point[33:])))
	}
	i.mu.Unlock()
	if answer == nil || !answer(w, r) {
		fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(keys, ","))
	}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is one by the key of a name.
func (i *issuer) token(kid string) []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	text := b64([]byte(`{"alg":"ES256","kid":"`+kid+`"}`)) + "." + b64([]byte(`{"sub":"42"}`))
	hash := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.keys[kid], hash[:])
	if err != nil {
		i.t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return []byte(text + "." + b64(signature))
}

// timer is one that a fetcher waits for; it ends when a test says so.
type timer struct {
	d   time.Duration
	end chan time.Time
}

// fetching is a fetcher on a made-up clock, and the Verifier that it is for.
type fetching struct {
	*keyFetcher
	t      *testing.T
	v      *door.Verifier
	timers chan timer
	log    buffer
	clock  atomic.Int64 // nanoseconds
}

func newFetching(t *testing.T) *fetching {
	t.Helper()
	v, err := door.NewVerifier(door.TokenRules{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fetching{t: t, v: v, timers: make(chan timer, 100)}
	f.keyFetcher = newKeyFetcher(slog.New(slog.NewTextHandler(&f.log, nil)), fetchPatience)
	f.now = func() time.Time { return time.Unix(1000, f.clock.Load()) }
	f.after = func(d time.Duration) <-chan time.Time {
		end := make(chan time.Time, 1)
		f.timers <- timer{d, end}
		return end
	}
	t.Cleanup(f.stop)
	return f
}

// waits is the timer that the fetcher waits for next, which is to be so long.
func (f *fetching) waits(want time.Duration) timer {
	f.t.Helper()
	select {
	case timer := <-f.timers:
		if timer.d != want {
			f.t.Errorf("waits: got %v, want %v", timer.d, want)
		}
		return timer
	case <-time.After(patience):
		f.t.Fatalf("waited in vain until the fetcher waits for %v", want)
		return timer{}
	}
}

// good checks whether a token is.
func (f *fetching) good(when string, token []byte, want bool) {
	f.t.Helper()
	if _, err := f.v.Verify(token, time.Unix(1, 0)); (err == nil) != want {
		f.t.Errorf("%s: got %v, want the token good: %v", when, err, want)
	}
}

func (f *fetching) fetches(done, failed uint64) {
	f.t.Helper()
	if f.done.Load() != done || f.failed.Load() != failed {
		f.t.Errorf("got %d fetches and %d that failed, want %d and %d", f.done.Load(), f.failed.Load(), done, failed)
	}
}

func TestKeysAreFetchedAgainWhenTheirTimeIsOver(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	old := i.token("a")
	f.good("before anything was fetched", old, false)
	<-f.v.WantsJWKS()
	f.follow(i.URL, f.v)
	end := f.waits(freshUsual)
	f.good("fetched", old, true)
	i.has("b")
	f.good("until it is fetched again", old, true)
	f.clock.Add(int64(freshUsual))
	end.end <- f.now()
	f.waits(freshUsual)
	f.good("a key that has gone", old, false)
	f.good("a key that has come", i.token("b"), true)
	f.fetches(2, 0)
	f.follow(i.URL, f.v) // still the same
	f.follow("", f.v)
	f.fetches(2, 0)
}

func TestATokenWithAnUnknownKeyHasTheKeysFetchedButNotMoreOftenThanEachTenSeconds(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	f.follow(i.URL, f.v)
	f.waits(freshUsual)
	i.has("a", "b")
	f.clock.Add(int64(4 * time.Second))
	for range 1000 {
		f.good("a key that is not here", i.token("b"), false)
	}
	end := f.waits(6 * time.Second)
	f.fetches(1, 0)
	end.end <- f.now()
	f.waits(freshUsual)
	f.good("a key that was not here", i.token("b"), true)
	f.good("that which was", i.token("a"), true)

	f.clock.Add(int64(time.Hour)) // when the last fetch is long ago it is done at once
	i.has("a", "b", "c")
	f.good("one more", i.token("c"), false)
	f.waits(0).end <- f.now()
	f.waits(freshUsual)
	f.good("one more, fetched", i.token("c"), true)
	f.fetches(3, 0)
}

func TestWhateverAServerOfKeysAnswersTheLastGoodOnesStay(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	old := i.token("a")
	f.follow(i.URL, f.v)
	end := f.waits(freshUsual)
	i.has("b")
	elsewhere := "http://id.example.org/"
	var failed uint64
	retry := fetchSoonest
	for _, answer := range []struct {
		what, logged string
		with         func(w http.ResponseWriter)
	}{
		{"an error", "the server answers 503", func(w http.ResponseWriter) { w.WriteHeader(503) }},
		{"no change, where nobody has asked", "the server answers 304", func(w http.ResponseWriter) { w.WriteHeader(304) }},
		{"nothing", "is not a JWKS", func(w http.ResponseWriter) {}},
		{"a page", "is not a JWKS", func(w http.ResponseWriter) { fmt.Fprint(w, "<html>HIDDEN") }},
		{"no keys", "has no key that tokens can be checked with", func(w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[]}`) }},
		{"a secret", "has no key that", func(w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"HIDDEN"}]}`) }},
		{"half an answer", "cannot be read", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"keys":[`)
		}},
		{"too much", "is longer than", func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat(" ", door.JWKSBytesMax+1)) }},
		{"a long head", "", func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("x", 2*fetchHeadBytesMax)) }},
		{"the way to where anybody could answer", "an address that is not encrypted", func(w http.ResponseWriter) { w.Header().Set("Location", elsewhere); w.WriteHeader(302) }},
		{"the way to itself", "redirects too often", func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) }},
		{"a cut", "EOF", func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		i.answers(func(w http.ResponseWriter, _ *http.Request) bool { answer.with(w); return true })
		end.end <- f.now()
		end = f.waits(retry)
		retry = min(2*retry, fetchRetryMax)
		failed++
		f.good("after "+answer.what, old, true)
		has(t, "log, after "+answer.what, f.log.String(), "level=WARN", "cannot be fetched", "keys=1", answer.logged)
	}
	f.fetches(1, failed)
	lines := strings.Count(f.log.String(), "\n")
	for range 5 { // an outage is one line, however long it is
		end.end <- f.now()
		end = f.waits(fetchRetryMax)
	}
	if got := strings.Count(f.log.String(), "\n"); got != lines || strings.Contains(f.log.String(), "HIDDEN") {
		t.Errorf("log: got %d lines more, want none, and nothing of the answers, in\n%s", got-lines, f.log.String())
	}
	i.answers(nil)
	end.end <- f.now()
	f.waits(freshUsual)
	f.good("when it is well again", i.token("b"), true)
	has(t, "log", f.log.String(), "level=INFO", "can be fetched again")
}

func TestAServerOfKeysThatHangsDelaysNobody(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	f.follow(i.URL, f.v)
	end := f.waits(freshUsual)
	asked, never := make(chan struct{}, 10), make(chan struct{})
	defer close(never)
	i.answers(func(http.ResponseWriter, *http.Request) bool { asked <- struct{}{}; <-never; return true })
	end.end <- f.now()
	<-asked
	f.good("while it hangs", i.token("a"), true)
	i.has("b")
	for range 1000 {
		f.good("a key that is not here, while it hangs", i.token("b"), false)
	}
	if f.http.Timeout != fetchTimeout {
		t.Errorf("a fetch may take %v, want %v", f.http.Timeout, fetchTimeout)
	}
	f.stop() // which gives up the fetch

	hanging := newFetching(t)
	hanging.follow(i.URL, hanging.v)
	<-asked
	waited := make(chan struct{})
	go func() { hanging.await(t.Context()); close(waited) }()
	hanging.waits(fetchPatience).end <- hanging.now()
	<-waited
	has(t, "log", hanging.log.String(), "have not come yet")
}

func TestAStartWaitsForTheFirstKeysAndNoLonger(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	f.await(t.Context()) // nothing is followed
	f.follow(i.URL, f.v)
	f.await(t.Context())
	f.good("when the wait is over", i.token("a"), true)
	failing := newFetching(t)
	i.answers(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	failing.follow(i.URL, failing.v)
	failing.await(t.Context())
	failing.fetches(0, 1)
}

func TestKeysThatHaveNotChangedAreNotSentAgain(t *testing.T) {
	i, f := newIssuer(t, "a"), newFetching(t)
	named := make(chan string, 10)
	i.answers(func(w http.ResponseWriter, r *http.Request) bool {
		named <- r.Header.Get("If-None-Match")
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Cache-Control", "public, max-age=120")
		if r.Header.Get("If-None-Match") == `"v1"` {
			w.WriteHeader(304)
			return true
		}
		return false
	})
	f.follow(i.URL, f.v)
	f.waits(2 * time.Minute).end <- f.now()
	f.waits(2 * time.Minute).end <- f.now()
	f.waits(2 * time.Minute)
	if first, second, third := <-named, <-named, <-named; first != "" || second != `"v1"` || third != `"v1"` {
		t.Errorf("If-None-Match: got %q, %q and %q, want none, then v1", first, second, third)
	}
	f.good("not sent again", i.token("a"), true)
	f.fetches(3, 0)
}

func TestAnAnswerIsGoodForAsLongAsItSaysWithinBounds(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": freshUsual, "public": freshUsual, "max-age=600": 10 * time.Minute, `Max-Age="900"`: 15 * time.Minute, "max-age=1": freshMin, "max-age=0": freshMin, "max-age=99999999": freshMax,
		"max-age=-5": freshUsual, "max-age=x": freshUsual, "no-cache": freshMin, "max-age=3600, no-store": freshMin, "private,max-age=300 ,must-revalidate": 5 * time.Minute,
		"max-age=99999999999999999999": freshUsual,
	} {
		head := http.Header{}
		head.Set("Cache-Control", text)
		if got := freshFor(head); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestAnotherAddressIsFollowedFromTheReloadOn(t *testing.T) {
	a, b := newIssuer(t, "a"), newIssuer(t, "b")
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"token-jwks": "`+a.URL+`"}`)
	v := serving(t, f, dir, "--config", config)
	first := f.cfg.Tokens
	takes := func(verifier *door.Verifier, token []byte) bool {
		_, err := verifier.Verify(token, time.Unix(1, 0))
		return err == nil
	}
	if !takes(first, a.token("a")) || !f.cfg.NoAnonymous || f.cfg.TokensOnly {
		t.Errorf("at the start: got no keys, or NoAnonymous %v, TokensOnly %v", f.cfg.NoAnonymous, f.cfg.TokensOnly)
	}
	rewrite(t, config, `{"token-jwks": "`+a.URL+`", "token-secret": "a secret"}`)
	do(t, "reload", "--run-dir", dir.path)
	rewrite(t, config, `{"token-jwks": "`+b.URL+`"}`)
	status, stdout, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("reload: got exit status %d: %s", status, stderr)
	}
	has(t, "reload", stdout, "token-secret: 1 secret → none", "token-jwks: ")
	applied := f.limitsApplied()
	if len(applied) != 2 || !takes(applied[0].Tokens, a.token("a")) || !takes(applied[1].Tokens, b.token("b")) || takes(applied[1].Tokens, a.token("a")) {
		t.Errorf("got %d changes, want the keys of the first address, then of the second", len(applied))
	}
	v.asked <- os.Interrupt
	v.exit(t)
}
