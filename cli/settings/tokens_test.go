package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"ringcast/loop/door"
)

// tokenBy is a token by HS256.
func tokenBy(secret, claims string) []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return []byte(text + "." + b64(mac.Sum(nil)))
}

// takes says whether settings take a token by a secret.
func (s *Settings) takes(secret, claims string) bool {
	_, err := s.Loop.Tokens.Verify(tokenBy(secret, claims), time.Unix(1, 0))
	return err == nil
}

// publicKey is a public key in PEM, and the same as a JWKS.
func publicKey(t *testing.T) (pemText, jwks string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
}

// long is a secret that nobody is warned of.
const long = "0123456789abcdef0123456789,abcdef"

func TestSecretsMayBeTypedOrComeFromTheEnvironmentAndFromFiles(t *testing.T) {
	w := world{files: map[string]string{"keys": " " + long + "\r\n\nsecond \n", "one": long + "\n"}}
	for what, test := range map[string]struct {
		environ, args []string
		config        string
		want          string // the secrets, between spaces
	}{
		"nothing":              {want: ""},
		"typed":                {args: []string{"--token-secret", long}, want: long},
		"typed twice":          {args: []string{"--token-secret=first", "--token-secret", long}, want: "first " + long},
		"a file":               {args: []string{"--token-secret", "@keys"}, want: long + " second"},
		"two files, and typed": {args: []string{"--token-secret", "@one", "--token-secret", "x", "--token-secret", "@keys"}, want: long + " x " + long + " second"},
		"the environment":      {environ: []string{"RINGCAST_TOKEN_SECRET=" + long}, want: long},
		"lines of it":          {environ: []string{"RINGCAST_TOKEN_SECRET=a\nb\n"}, want: "a b"},
		"a file named by it":   {environ: []string{"RINGCAST_TOKEN_SECRET=@one"}, want: long},
		"typed before it":      {environ: []string{"RINGCAST_TOKEN_SECRET=a"}, args: []string{"--token-secret", "b"}, want: "b"},
		"a string in the file": {config: `{"token-secret": "` + long + `"}`, want: long},
		"an array":             {config: `{"token-secret": ["a", "` + long + `"]}`, want: "a " + long},
		"a file named by it, ": {config: `{"token-secret": ["@keys"]}`, want: long + " second"},
		"an empty array":       {config: `{"token-secret": []}`, want: ""},
	} {
		w := w
		w.environ, w.config = test.environ, test.config
		args := test.args
		if w.config != "" {
			args = append(args, "--config", configName)
		}
		s, err := w.parse(args...)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want := strings.Fields(test.want)
		if got := len(s.typed.TokenSecrets); got != len(want) || (s.Loop.Tokens != nil) != (len(want) > 0) {
			t.Errorf("%s: got %d secrets and %v, want %d", what, got, s.Loop.Tokens, len(want))
		}
		for _, secret := range want {
			if !s.takes(secret, "{}") {
				t.Errorf("%s: a token by %q is refused", what, secret)
			}
		}
		if s.takes("another", "{}") || s.takes("", "{}") {
			t.Errorf("%s: a token by another secret is good", what)
		}
	}
}

func TestPublicKeysAudienceAndIssuerAreRules(t *testing.T) {
	key, jwks := publicKey(t)
	w := world{files: map[string]string{"a.pem": key, "b.pem": key, "set.json": jwks}}
	for _, args := range [][]string{{"--token-public-key", "a.pem"}, {"--token-public-key", "a.pem,b.pem"}, {"--token-public-key", "a.pem", "--token-public-key", "b.pem"}, {"--token-jwks", "set.json"}} {
		if s, err := w.parse(args...); err != nil || s.Loop.Tokens == nil || s.JWKSURL != "" || s.takes("secret", "{}") {
			t.Errorf("%v: got %v and %v, want tokens", args, s.Loop.Tokens, err)
		}
	}
	s, err := w.parse("--token-jwks", "https://id.example.org/keys?a=b")
	if err != nil || s.Loop.Tokens == nil || s.JWKSURL != "https://id.example.org/keys?a=b" {
		t.Errorf("an address: got %v, %q and %v, want it to be fetched from", s.Loop.Tokens, s.JWKSURL, err)
	}
	s, err = w.parse("--token-secret", long, "--token-audience", "us", "--token-issuer", "me")
	if err != nil || !s.takes(long, `{"aud":"us","iss":"me"}`) || s.takes(long, `{"aud":"us"}`) || s.takes(long, `{"iss":"me"}`) {
		t.Errorf("an audience and an issuer: got %v, want both asked for", err)
	}
}

func TestWrongKeysAreNamedWithTheMendAndNeverShown(t *testing.T) {
	const hidden = "HIDDEN"
	key, _ := publicKey(t)
	files := map[string]string{"empty": "\n \n", "key": key, "text": hidden, "long": hidden + strings.Repeat("x", 1<<10), "big": strings.Repeat(hidden+"\n", 20_000), "five": strings.Repeat(key, 5),
		"many": strings.Repeat(hidden+"\n", 17), "comment": "# " + hidden + "\nsecret\n", "binary": hidden + "\x00\xff"}
	for _, test := range []struct {
		environ, args []string
		config        string
		wants         []string
	}{
		{args: []string{"--token-secret", ""}, wants: []string{"--token-secret is empty; write a secret"}},
		{args: []string{"--token-secret", "@empty"}, wants: []string{`--token-secret "@empty" is empty`}},
		{args: []string{"--token-secret", "@nowhere"}, wants: []string{`--token-secret "@nowhere" cannot be read: file does not exist; name a file`}},
		{args: []string{"--token-secret", "@big"}, wants: []string{`"@big" is longer than 64KiB`}},
		{args: []string{"--token-secret", "@long"}, wants: []string{"has a secret of more than 1024 bytes"}},
		{args: []string{"--token-secret", "@comment"}, wants: []string{`"@comment" has a line that begins with #`, "leave comments out"}},
		{args: []string{"--token-secret", "@binary"}, wants: []string{`"@binary" is not text; write a secret in a line`}},
		{args: []string{"--token-secret", "@many"}, wants: []string{"has 17 secrets, more than the 16 allowed"}},
		{args: []string{"--token-secret", "@key"}, wants: []string{`"@key" is a key in PEM and no secret`, "--token-public-key"}},
		{args: []string{"--token-secret=-----BEGIN PRIVATE KEY-----\n" + hidden}, wants: []string{"is a key in PEM"}},
		{args: []string{"--token-secret", "--" + hidden}, wants: []string{"begins with - and looks like a flag; write --token-secret=VALUE"}},
		{args: []string{"--token-secret", "-" + hidden}, wants: []string{"begins with - and looks like a flag"}},
		{args: []string{"--tokn-secret=" + hidden}, wants: []string{"unknown flag --tokn-secret"}},
		{args: []string{"--token-secret"}, wants: []string{"--token-secret needs a value"}},
		{environ: []string{"RINGCAST_TOKEN_SECRET="}, wants: []string{"--token-secret (from RINGCAST_TOKEN_SECRET) is empty"}},
		{environ: []string{"RINGCAST_TOKEN_SECRET=" + hidden + strings.Repeat("x", 1<<10)}, wants: []string{"(from RINGCAST_TOKEN_SECRET) has a secret of more than"}},
		{config: `{"token-secret": {"a": "` + hidden + `"}}`, wants: []string{`key "token-secret" is neither a string nor an array of strings`}},
		{config: `{"token-secret": ["` + hidden + `", 7]}`, wants: []string{`key "token-secret" is neither`}},
		{config: `{"token-secret": null}`, wants: []string{`key "token-secret" is neither`}},
		{config: `{"token-secret": ""}`, wants: []string{"--token-secret (from the config file) is empty"}},
		{config: `{"token-secret": "` + hidden + `", "token-secret": "b"}`, wants: []string{`key "token-secret" twice`}},
		{config: `{"token-secret": "` + hidden + `", "loops": 0}`, wants: []string{"--loops"}},

		{args: []string{"--token-public-key", "nowhere"}, wants: []string{`--token-public-key "nowhere" cannot be read`}},
		{args: []string{"--token-public-key", "text"}, wants: []string{`"text" has no public key`}},
		{args: []string{"--token-public-key", "five"}, wants: []string{"has 5 keys, more than the 4 allowed"}},
		{args: []string{"--token-public-key", "-----BEGIN PRIVATE KEY-----" + hidden}, wants: []string{"looks like a flag"}},
		{args: []string{"--token-public-key=-----BEGIN PRIVATE KEY-----" + hidden}, wants: []string{"is a key; write it into a file"}},
		{args: []string{"--token-jwks", "nowhere"}, wants: []string{`--token-jwks "nowhere" cannot be read`}},
		{args: []string{"--token-jwks", "text"}, wants: []string{`--token-jwks "text" is not a JWKS`}},
		{args: []string{"--token-jwks", "http://id.example.org/"}, wants: []string{"is not encrypted", "write https"}},
		{args: []string{"--token-jwks", "ftp://id.example.org/"}, wants: []string{"has the scheme ftp; write https"}},
		{args: []string{"--token-jwks", "https://"}, wants: []string{"has no host"}},
		{args: []string{"--token-jwks", "https://me:" + hidden + "@id.example.org/"}, wants: []string{"has a name or password in it"}},
		{args: []string{"--token-jwks", "https://me:" + hidden + "@id.example.org:port/"}, wants: []string{"is not an address"}},
		{args: []string{"--token-audience", strings.Repeat("a", 2000)}, wants: []string{"--token-audience", "has more than 1024 bytes"}},
		{args: []string{"--anonymous", "perhaps"}, wants: []string{`--anonymous "perhaps" must be on, off or auto`}},
	} {
		w := world{environ: test.environ, config: test.config, files: files}
		args := test.args
		if w.config != "" {
			args = append(args, "--config", configName)
		}
		_, err := w.parse(args...)
		what := fmt.Sprintf("%.60q %.60q %.60q", test.environ, test.args, test.config)
		refused(t, what, err, test.wants...)
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: the error shows what is hidden: %v", what, err)
		}
	}
}

func TestSettingsDoNotShowTheirSecrets(t *testing.T) {
	const first, second = "HIDDEN-first", "HIDDEN-second"
	a, err := parse(t, "--token-secret", first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parse(t, "--token-secret", second, "--token-secret", first)
	if err != nil {
		t.Fatal(err)
	}
	_, changes, _ := a.Adopt(&b)
	shown := fmt.Sprintf("%v %+v %#v %v %v %v %v", a, a, a, a.Loop.Tokens, changes, a.Changeable(), a.Warnings())
	if strings.Contains(shown, "HIDDEN") {
		t.Errorf("got %s, want no secret in it", shown)
	}
	if got := fmt.Sprintf("%v %#v", Secrets{first}, Secrets{first, second}); got != "1 secret 2 secrets" {
		t.Errorf("secrets as they were typed: got %s, want their numbers", got)
	}
}

func TestWhoMayBeHereWithoutAToken(t *testing.T) {
	for _, test := range []struct {
		args           []string
		centrifuge, of bool // whether Centrifuge's, and plain clients, may be here without a token
	}{
		{nil, true, true}, {[]string{"--token-secret", long}, false, true}, {[]string{"--token-secret", long, "--anonymous", "on"}, true, true},
		{[]string{"--token-secret", long, "--anonymous", "off"}, false, false}, {[]string{"--anonymous", "off"}, false, false}, {[]string{"--anonymous", "on"}, true, true},
		{[]string{"--token-jwks", "https://id.example.org/"}, false, true}, {[]string{"--token-secret", long, "--anonymous", "auto"}, false, true},
	} {
		s, err := parse(t, test.args...)
		if err != nil || s.Loop.NoAnonymous == test.centrifuge || s.Loop.TokensOnly == test.of {
			t.Errorf("%v: got NoAnonymous %v, TokensOnly %v and %v, want the contrary of %v and %v", test.args, s.Loop.NoAnonymous, s.Loop.TokensOnly, err, test.centrifuge, test.of)
		}
	}
}

func TestAReloadTakesUpTokensAndSaysWhatChanged(t *testing.T) {
	key, jwks := publicKey(t)
	other, _ := publicKey(t)
	const url = "https://id.example.org/keys"
	first := world{files: map[string]string{"s": "a", "k": key, "j": jwks}}
	second := world{files: map[string]string{"s": "b", "k": other, "j": jwks + " "}}
	for _, test := range []struct {
		was, is []string // arguments; the worlds differ too
		want    string   // changes
	}{
		{[]string{"--token-secret", "a"}, []string{"--token-secret", "a", "--heartbeat", "9s"}, "heartbeat: 60s → 9s"},
		{nil, []string{"--token-secret", "a"}, "token-secret: none → 1 secret"},
		{[]string{"--token-secret", "a"}, nil, "token-secret: 1 secret → none"},
		{[]string{"--token-secret", "a"}, []string{"--token-secret", "a", "--token-secret", "b"}, "token-secret: 1 secret → 2 secrets"},
		{[]string{"--token-secret", "a"}, []string{"--token-secret", "b"}, "token-secret: 1 secret → 1 secret, with other contents"},
		{[]string{"--token-secret", "@s"}, []string{"--token-secret", "@s"}, "token-secret: 1 secret → 1 secret, with other contents"},
		{[]string{"--token-public-key", "k"}, []string{"--token-public-key", "k"}, "token-public-key: k → k, with other contents"},
		{[]string{"--token-jwks", "j"}, []string{"--token-jwks", "j"}, "token-jwks: j → j, with other contents"},
		{[]string{"--token-jwks", url}, []string{"--token-jwks", url, "--token-audience", "us"}, "token-audience: none → us"},
		{[]string{"--token-jwks", url}, []string{"--token-jwks", url + "/new"}, "token-jwks: " + url + " → " + url + "/new"},
		{[]string{"--token-secret", "a"}, []string{"--token-secret", "a", "--token-issuer", "me", "--anonymous", "off"}, "token-issuer: none → me; anonymous: auto → off"},
	} {
		was, err := first.parse(test.was...)
		if err != nil {
			t.Fatal(err)
		}
		is, err := second.parse(test.is...)
		if err != nil {
			t.Fatal(err)
		}
		before := was.Loop.Tokens
		next, changes, rest := was.Adopt(&is)
		var got []string
		for _, c := range changes {
			got = append(got, c.String())
		}
		if strings.Join(got, "; ") != test.want || len(rest) != 0 {
			t.Errorf("%v → %v: got %q and %v, want %q", test.was, test.is, got, rest, test.want)
		}
		if same := strings.HasPrefix(test.want, "heartbeat"); same != (next.Loop.Tokens == before) {
			t.Errorf("%v → %v: got the Verifier of before: %v, want %v", test.was, test.is, next.Loop.Tokens == before, same)
		}
		if next.JWKSURL != is.JWKSURL || next.Loop.NoAnonymous != is.Loop.NoAnonymous || next.Loop.TokensOnly != is.Loop.TokensOnly {
			t.Errorf("%v → %v: got %q, %v, %v, want what was read", test.was, test.is, next.JWKSURL, next.Loop.NoAnonymous, next.Loop.TokensOnly)
		}
		if !reflect.DeepEqual(next.typed.tokenFlags, is.typed.tokenFlags) {
			t.Errorf("%v → %v: got %v in force, want %v", test.was, test.is, next.typed.tokenFlags, is.typed.tokenFlags)
		}
	}
}

// What was fetched last is good after a reload by which only other things about tokens have changed.
func TestAReloadKeepsWhatWasFetchedFromTheSameAddress(t *testing.T) {
	_, jwks := publicKey(t)
	set, err := door.ReadJWKS([]byte(jwks))
	if err != nil {
		t.Fatal(err)
	}
	was, err := parse(t, "--token-jwks", "https://id.example.org/")
	if err != nil {
		t.Fatal(err)
	}
	was.Loop.Tokens.SetJWKS(set)
	for address, want := range map[string]int{"https://id.example.org/": 1, "https://id.example.org/other": 0} {
		is, err := parse(t, "--token-jwks", address, "--token-issuer", "me")
		if err != nil {
			t.Fatal(err)
		}
		next, _, _ := was.Adopt(&is)
		if got := next.Loop.Tokens.JWKS().Len(); got != want {
			t.Errorf("%s: got %d keys, want %d", address, got, want)
		}
	}
}

func TestAJWKSIsFetchedOverNoWireThatOthersCanReach(t *testing.T) {
	for address, want := range map[string]bool{
		"https://id.example.org/": true, "https://127.0.0.1:8443/a?b=c": true, "http://127.0.0.1:8080/": true, "http://[::1]/": true, "http://localhost:1/": true,
		"http://id.example.org/": false, "http://10.0.0.1/": false, "http://localhost.example.org/": false, "http://[::ffff:10.0.0.1]/": false, "file:///etc/passwd": false, "https:///x": false,
		"HTTPS://id.example.org": true, "http://127.0.0.1.example.org/": false, "ws://localhost/": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := CheckJWKSURL(u) == nil; got != want {
			t.Errorf("%s: got allowed %v, want %v", address, got, want)
		}
	}
}

func TestWhatIsUnwiseAboutTokensIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string // in the only warning; empty: there is none
	}{
		{[]string{"--token-secret", long}, ""}, {[]string{"--token-secret", long[:31]}, "shorter than 32 bytes: 1."},
		{[]string{"--token-secret", "a", "--token-secret", "b", "--token-secret", long}, "bytes: 2."}, {[]string{"--anonymous", "off"}, "No client can do anything"},
		{[]string{"--anonymous", "off", "--token-secret", long}, ""}, {[]string{"--join", "user", "--publish", "token", "--token-secret", long}, ""},
	} {
		s, err := parse(t, test.args...)
		if err != nil {
			t.Fatal(err)
		}
		all := append(s.TokenWarnings(), "")
		if !strings.Contains(all[0], test.want) || (all[0] != "") != (test.want != "") || len(all) > 2 {
			t.Errorf("%v: got %q, want %q", test.args, all, test.want)
		}
		if join, publish := s.OutOfReach(); join+publish != "" {
			t.Errorf("%v: got %s and %s out of reach, want none where there are tokens", test.args, join, publish)
		}
	}
}
