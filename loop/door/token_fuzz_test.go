package door

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// FuzzToken has any bytes as a token, and any header and claims in a token with a good signature. What is taken has been signed, which is
// checked without package jwt; what it says is within its bounds, as encoding/json reads it too; and no error says what a token does.
func FuzzToken(f *testing.F) {
	s := theSigners()
	secret := []byte("a secret that no input can find")
	v := verifierOf(f, TokenRules{Secrets: [][]byte{secret}, PublicKeys: []any{&s.p256.PublicKey, &s.rsa.PublicKey}, Audience: "us"})
	v.SetJWKS(readJWKS(f, jwkOf(f, s.edPublic, "ed")))
	const header, claims = `{"alg":"HS256","typ":"JWT"}`, `{"aud":"us","sub":"42","exp":1.9e9,"info":{"a":1},"channels":["a"],"subs":{"b":{"info":1}},"join":["c:*"],"iat":1}`
	f.Add([]byte(signedBy(f, jwt.SigningMethodHS256, secret, header, claims)), header, claims)
	f.Add([]byte(signedBy(f, jwt.SigningMethodES256, s.p256, `{"alg":"ES256"}`, `{"aud":["us"]}`)), `{"alg":"HS256","crit":["x"]}`, `{"aud":"us","channel":"a","expire_at":0}`)
	f.Add([]byte(signedBy(f, jwt.SigningMethodEdDSA, s.ed, `{"alg":"EdDSA","kid":"ed"}`, `{"aud":["us"]}`)), `{"alg":"none"}`, `{"aud":"us","b64info":"e30="}`)
	f.Add([]byte("eyJhbGciOiJub25lIn0.e30."), `{"alg":"HS256","kid":"x"}`, `{"exp":NaN}`)
	f.Fuzz(func(t *testing.T, token []byte, header, claims string) {
		whole := bytes.Clone(token)
		got, err := v.Verify(token, time.Unix(atNow, 0))
		if !bytes.Equal(token, whole) {
			t.Fatal("the token was written to")
		}
		if err == nil && !signedForSure(s, secret, string(token)) {
			t.Fatalf("%q was not signed, and is good: %+v", token, got)
		}
		saysNothing(t, err, string(token))

		made := signedBy(t, jwt.SigningMethodHS256, secret, header, claims)
		got, err = v.Verify([]byte(made), time.Unix(atNow, 0))
		saysNothing(t, err, made)
		if err != nil {
			return
		}
		var head struct {
			Alg  string `json:"alg"`
			Crit any    `json:"crit"`
		}
		if json.Unmarshal([]byte(header), &head) != nil || head.Alg != "HS256" || head.Crit != nil {
			t.Fatalf("header %q: it is good", header)
		}
		var said map[string]any
		if err := json.Unmarshal([]byte(claims), &said); err != nil {
			t.Fatalf("claims %q: %v, and they are good", claims, err)
		}
		if sub, _ := said["sub"].(string); sub != got.User || len(sub) > UserBytesMax || !utf8.ValidString(sub) {
			t.Fatalf("sub of %q: got %q", claims, got.User)
		}
		if exp, is := said["exp"]; is && (exp.(float64) < atNow+1 || got.Expires == 0) || got.Ends != 0 && got.Ends <= atNow || got.IssuedAt > atNow+clockSkew {
			t.Fatalf("times of %q: got %+v", claims, got)
		}
		for _, info := range append([][]byte{got.Info}, got.Groups["b"]) {
			if info != nil && (!json.Valid(info) || bytes.ContainsAny(info, "\r\n") || len(info) > infoBytesMax) {
				t.Fatalf("info of %q: got %q", claims, info)
			}
		}
		for name := range got.Groups {
			if !isGroup(name) || !utf8.ValidString(name) {
				t.Fatalf("groups of %q: got %q", claims, name)
			}
		}
		if len(got.Join) > patternsMax || len(got.Publish) > patternsMax || strings.Contains(strings.Join(got.Join, ","), "\xff") {
			t.Fatalf("patterns of %q: got %q and %q", claims, got.Join, got.Publish)
		}
	})
}

// saysNothing checks that an error is one of ours, and has no part of a token in it.
func saysNothing(t *testing.T, err error, token string) {
	if err == nil {
		return
	}
	if !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrTokenExpired) || len(err.Error()) > 120 {
		t.Fatalf("got an error that is none of ours: %v", err)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 12 && strings.Contains(err.Error(), part) {
			t.Fatalf("the error has a part of the token in it: %v", err)
		}
	}
}

// signedForSure says whether one of the keys has signed a token, by nothing but Go's own packages.
func signedForSure(s *signers, secret []byte, token string) bool {
	at := strings.LastIndexByte(token, '.')
	text := token[:max(at, 0)]
	signature, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	hash := sha256.Sum256([]byte(text))
	return hmac.Equal(mac.Sum(nil), signature) || ed25519.Verify(s.edPublic, []byte(text), signature) ||
		len(signature) == 64 && ecdsa.Verify(&s.p256.PublicKey, hash[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}
