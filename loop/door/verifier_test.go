package door

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// atNow is the clock of these tests: exp 1900000000 is to come.
const atNow = 1800000000

// checked is Verify at atNow, with a look at what errors may say.
func checked(t *testing.T, v *Verifier, token string) (*Token, error) {
	t.Helper()
	got, err := v.Verify([]byte(token), time.Unix(atNow, 0))
	if (got == nil) != (err != nil) || err != nil && !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrTokenExpired) {
		t.Fatalf("%.200s: got %v and %v, want either", token, got, err)
	}
	if err != nil && len(token) > 5 && strings.Contains(err.Error(), token) {
		t.Errorf("%.200s: the error has the token in it: %v", token, err)
	}
	return got, err
}

// verifierOf is a Verifier by rules that are right.
func verifierOf(t testing.TB, r TokenRules) *Verifier {
	t.Helper()
	v, err := NewVerifier(r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signedBy is a token of a header and claims, as they stand there.
func signedBy(t testing.TB, method jwt.SigningMethod, key any, header, claims string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// bySecret is a token by HS256 and the secret of the vectors.
func bySecret(t testing.TB, claims string) string {
	return signedBy(t, jwt.SigningMethodHS256, []byte("secret"), `{"alg":"HS256","typ":"JWT"}`, claims)
}

// signers is a private key of each kind.
type signers struct {
	rsa, rsaShort *rsa.PrivateKey
	p256, p384    *ecdsa.PrivateKey
	p521, p256Too *ecdsa.PrivateKey
	ed            ed25519.PrivateKey
	edPublic      ed25519.PublicKey
	p224          crypto.Signer
}

// theSigners takes a moment, once.
var theSigners = sync.OnceValue(func() *signers {
	s := &signers{}
	var err [8]error
	s.rsa, err[0] = rsa.GenerateKey(rand.Reader, 2048)
	s.rsaShort, err[1] = rsa.GenerateKey(rand.Reader, 1024)
	s.p256, err[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.p384, err[3] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	s.p521, err[4] = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	s.p256Too, err[5] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.edPublic, s.ed, err[6] = ed25519.GenerateKey(rand.Reader)
	s.p224, err[7] = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if e := errors.Join(err[:]...); e != nil {
		panic(e)
	}
	return s
})

// pemOf is a public key in PEM.
func pemOf(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// The vectors of the Centrifuge notes, made by another library.
func TestTokensOfOthersAreUnderstood(t *testing.T) {
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	const header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
	for token, want := range map[string]Token{
		header + "eyJzdWIiOiI0MiJ9.79CVgMIG_JB921dVUeJDWNJubJojFodH3-XtC_1C408": {User: "42"},
		header + "eyJzdWIiOiI0MiIsImV4cCI6MTkwMDAwMDAwMCwiaW5mbyI6eyJuYW1lIjoiQW5uIn19.i2MVz2Ia6xW7hVYOYib3ctOItM_NAbaXB3gofgxroJk": {
			User: "42", Info: []byte(`{"name":"Ann"}`), Expires: 1900000000, Ends: 1900000000},
		header + "eyJzdWIiOiI0MiIsImNoYW5uZWwiOiIkcHJpdmF0ZTpjaGF0IiwiZXhwIjoxOTAwMDAwMDAwfQ.hGeDs_UewXJWj2l_nFR-8z8Gg5O3O-y6kf_z-g20ejQ": {
			User: "42", Group: "$private:chat", Expires: 1900000000, Ends: 1900000000},
	} {
		if got, err := checked(t, v, token); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v and %v, want %+v", got, err, want)
		}
	}
}

// algorithms is every algorithm with the private and the public key that the table of refusals is made of.
func algorithms() map[jwt.SigningMethod][2]any {
	s := theSigners()
	secret := []byte("secret")
	return map[jwt.SigningMethod][2]any{
		jwt.SigningMethodHS256: {secret, secret}, jwt.SigningMethodHS384: {secret, secret}, jwt.SigningMethodHS512: {secret, secret},
		jwt.SigningMethodRS256: {s.rsa, &s.rsa.PublicKey}, jwt.SigningMethodRS384: {s.rsa, &s.rsa.PublicKey}, jwt.SigningMethodRS512: {s.rsa, &s.rsa.PublicKey},
		jwt.SigningMethodES256: {s.p256, &s.p256.PublicKey}, jwt.SigningMethodES384: {s.p384, &s.p384.PublicKey}, jwt.SigningMethodES512: {s.p521, &s.p521.PublicKey},
		jwt.SigningMethodEdDSA: {s.ed, s.edPublic},
	}
}

// rulesOf is the rules with one key.
func rulesOf(public any) TokenRules {
	if secret, is := public.([]byte); is {
		return TokenRules{Secrets: [][]byte{secret}}
	}
	return TokenRules{PublicKeys: []any{public}}
}

func TestEachAlgorithmIsGoodWithAKeyOfItsKindAlone(t *testing.T) {
	all := algorithms()
	for method, keys := range all {
		token := signedBy(t, method, keys[0], fmt.Sprintf(`{"alg":%q}`, method.Alg()), `{"sub":"42"}`)
		for other, its := range all {
			v := verifierOf(t, rulesOf(its[1]))
			got, err := checked(t, v, token)
			if same := reflect.DeepEqual(keys[1], its[1]); same != (err == nil) || same && got.User != "42" {
				t.Errorf("%s, with the key of %s: got %v and %v, want it good: %v", method.Alg(), other.Alg(), got, err, same)
			}
		}
		if _, err := checked(t, verifierOf(t, TokenRules{}), token); err == nil {
			t.Errorf("%s without a key: it is good", method.Alg())
		}
		if _, err := checked(t, nil, token); err == nil {
			t.Errorf("%s where no tokens are configured: it is good", method.Alg())
		}
	}
}

// The header is the sender's to write: it chooses none of our keys for what they are not.
func TestAHeaderCannotChooseHowAKeyIsUsed(t *testing.T) {
	s := theSigners()
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}, PublicKeys: []any{&s.rsa.PublicKey, &s.p256.PublicKey, s.edPublic}})
	refused := func(what, token string) {
		t.Helper()
		if got, err := checked(t, v, token); !errors.Is(err, ErrBadToken) {
			t.Errorf("%s: got %v and %v, want it refused", what, got, err)
		}
	}
	good := bySecret(t, `{"sub":"42"}`)
	if _, err := checked(t, v, good); err != nil {
		t.Fatal(err)
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		refused("alg "+none, signedBy(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, fmt.Sprintf(`{"alg":%q}`, none), `{"sub":"42"}`))
		refused("alg "+none+" with a signature", signedBy(t, jwt.SigningMethodHS256, []byte("secret"), fmt.Sprintf(`{"alg":%q}`, none), `{"sub":"42"}`))
	}
	for _, public := range []any{&s.rsa.PublicKey, &s.p256.PublicKey, s.edPublic} {
		text := pemOf(t, public)
		block, _ := pem.Decode(text)
		for _, secret := range [][]byte{text, []byte(strings.TrimSpace(string(text))), block.Bytes, s.edPublic} {
			refused("a public key as a secret", signedBy(t, jwt.SigningMethodHS256, secret, `{"alg":"HS256"}`, `{"sub":"42"}`))
		}
	}
	refused("an empty secret", signedBy(t, jwt.SigningMethodHS256, []byte{}, `{"alg":"HS256"}`, `{"sub":"42"}`))
	refused("PS256", signedBy(t, jwt.SigningMethodPS256, s.rsa, `{"alg":"PS256"}`, `{"sub":"42"}`))
	refused("another curve's algorithm", signedBy(t, jwt.SigningMethodES256, s.p256, `{"alg":"ES384"}`, `{"sub":"42"}`))
	refused("another hash than the one that is named", signedBy(t, jwt.SigningMethodHS384, []byte("secret"), `{"alg":"HS256"}`, `{"sub":"42"}`))
	refused("a key of its own", signedBy(t, jwt.SigningMethodES256, s.p256Too, `{"alg":"ES256","jwk":`+jwkOf(t, &s.p256Too.PublicKey, "")+`}`, `{"sub":"42"}`))
	for _, header := range []string{
		`{"alg":"HS256","crit":[]}`, `{"alg":"HS256","crit":["exp"],"exp":1}`, `{"alg":"HS256","crit":null}`, `{"alg":"HS256","b64":false,"crit":["b64"]}`,
		`{"alg":"none","alg":"HS256"}`, `{"alg":"HS256","alg":"HS256"}`, `{"ALG":"HS256"}`, `{"typ":"JWT"}`, `{}`, `[]`, `null`, `"HS256"`, `{"alg":["HS256"]}`, `{"alg":null}`,
		`{"alg":"hs256"}`, `{"alg":"HS256 "}`, `{"alg":"HS256","kid":1}`, `{"alg":"HS256","kid":null}`, `{"alg":"HS256"} {}`, `{"alg":"HS256"`, ``, "{\"alg\":\"HS256\",\"x\":\"\xff\"}",
	} {
		refused(header, signedBy(t, jwt.SigningMethodHS256, []byte("secret"), header, `{"sub":"42"}`))
	}
	for _, header := range []string{`{"alg":"HS256","kid":"any"}`, ` { "alg" : "HS256" , "typ":"at+jwt","cty":"x","jku":"https://evil.example"} `} {
		if _, err := checked(t, v, signedBy(t, jwt.SigningMethodHS256, []byte("secret"), header, `{"sub":"42"}`)); err != nil {
			t.Errorf("%s: got %v, want it good", header, err)
		}
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	good := bySecret(t, `{"sub":"42"}`)
	head, signature := good[:strings.LastIndexByte(good, '.')], good[strings.LastIndexByte(good, '.')+1:]
	last := map[byte]string{'8': "9"}[signature[len(signature)-1]] // the same bytes, in a way in which nobody writes them
	if last == "" {
		t.Fatalf("the signature ends with %s: want another example", signature[len(signature)-1:])
	}
	for what, token := range map[string]string{
		"nothing": "", "dots": "..", "one dot": ".", "text": "token", "two segments": head, "no signature": head + ".", "four segments": good + ".x", "a dot behind": good + ".",
		"padding": good + "=", "a line break": good + "\n", "a line break inside": head + "." + signature[:5] + "\n" + signature[5:], "a space before": " " + good,
		"Bearer": "Bearer " + good, "other bits behind the end": head + "." + signature[:len(signature)-1] + last, "a byte more": good + "AA",
		"half a signature": head + "." + signature[:20], "base64 of another alphabet": strings.Replace(good, "_", "/", 1), "no text": "\xff" + good,
		"claims of another": signedHeader(good) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"43"}`)) + "." + signature,
		"the longest":       strings.Repeat("a", TokenBytesMax), "dots alone": strings.Repeat(".", TokenBytesMax),
	} {
		if got, err := checked(t, v, token); !errors.Is(err, ErrBadToken) {
			t.Errorf("%s: got %v and %v, want it refused", what, got, err)
		}
	}
}

func signedHeader(token string) string { return token[:strings.IndexByte(token, '.')] }

func TestATokenHasAtMostSoManyBytes(t *testing.T) {
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}})
	claims := func(n int) string { return `{"sub":"42","x":"` + strings.Repeat("a", n) + `"}` }
	n := 6000
	for len(bySecret(t, claims(n))) <= TokenBytesMax {
		n++
	}
	if _, err := checked(t, v, bySecret(t, claims(n-1))); err != nil {
		t.Errorf("the longest: got %v, want it good", err)
	}
	if _, err := checked(t, v, bySecret(t, claims(n))); !errors.Is(err, ErrBadToken) {
		t.Errorf("a longer one: got %v, want it refused", err)
	}
}

func TestAnyOfSeveralKeysIsGoodSoThatTheyCanBeRotated(t *testing.T) {
	s := theSigners()
	v := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("new"), []byte("secret")}, PublicKeys: []any{&s.p256Too.PublicKey, &s.p256.PublicKey}})
	for _, token := range []string{
		bySecret(t, `{}`), signedBy(t, jwt.SigningMethodHS512, []byte("new"), `{"alg":"HS512"}`, `{}`),
		signedBy(t, jwt.SigningMethodES256, s.p256, `{"alg":"ES256"}`, `{}`), signedBy(t, jwt.SigningMethodES256, s.p256Too, `{"alg":"ES256","kid":"who knows"}`, `{}`),
	} {
		if _, err := checked(t, v, token); err != nil {
			t.Errorf("got %v, want it good", err)
		}
	}
	if _, err := checked(t, v, signedBy(t, jwt.SigningMethodHS256, []byte("old"), `{"alg":"HS256"}`, `{}`)); err == nil {
		t.Error("by a secret that is not configured any more: it is good")
	}
}

func TestWrongKeysAreNoRules(t *testing.T) {
	s := theSigners()
	for what, r := range map[string]TokenRules{
		"no secret": {Secrets: [][]byte{[]byte("a"), nil}}, "a short RSA key": {PublicKeys: []any{&s.rsaShort.PublicKey}}, "a private key": {PublicKeys: []any{s.p256}},
		"a curve that no algorithm has": {PublicKeys: []any{s.p224.Public()}}, "a secret as a public key": {PublicKeys: []any{[]byte("secret")}},
		"too many secrets": {Secrets: slices.Repeat([][]byte{{1}}, SecretsMax+1)}, "too many keys": {PublicKeys: []any{s.edPublic, s.edPublic, s.edPublic, s.edPublic, s.edPublic}},
		"half a key": {PublicKeys: []any{s.edPublic[:16]}}, "nothing": {PublicKeys: []any{nil}},
	} {
		if _, err := NewVerifier(r); err == nil || strings.Contains(err.Error(), "secret ") && strings.Contains(err.Error(), "\"") {
			t.Errorf("%s: got %v, want an error without a secret", what, err)
		}
	}
}
