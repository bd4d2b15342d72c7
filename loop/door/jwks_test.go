package door

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// jwkOf is a public key as a JWK.
func jwkOf(t testing.TB, public any, kid string, more ...string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	m := map[string]any{}
	switch public := public.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", public.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(public)
	case []byte:
		m["kty"], m["k"] = "oct", b64(public)
	}
	if kid != "" {
		m["kid"] = kid
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readJWKS is a set that is right.
func readJWKS(t testing.TB, keys ...string) *JWKS {
	t.Helper()
	set, err := ReadJWKS([]byte(`{"keys":[` + strings.Join(keys, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestAKeyOfASetIsFoundByItsName(t *testing.T) {
	s := theSigners()
	v := verifierOf(t, TokenRules{})
	tokens := func(kid string) map[string]string {
		all := map[string]string{}
		for method, keys := range algorithms() {
			if _, secret := keys[0].([]byte); !secret {
				header := fmt.Sprintf(`{"alg":%q,"kid":%q}`, method.Alg(), kid+keyName(keys[1]))
				if kid == "-" {
					header = fmt.Sprintf(`{"alg":%q}`, method.Alg())
				}
				all[method.Alg()] = signedBy(t, method, keys[0], header, `{"sub":"42"}`)
			}
		}
		return all
	}
	good := func(when string, all map[string]string, want bool) {
		t.Helper()
		for alg, token := range all {
			if _, err := checked(t, v, token); (err == nil) != want {
				t.Errorf("%s, %s: got %v, want it good: %v", when, alg, err, want)
			}
		}
	}
	wanted := func(when string, want bool) {
		t.Helper()
		select {
		case <-v.WantsJWKS():
			if !want {
				t.Errorf("%s: a newer set is wanted", when)
			}
		default:
			if want {
				t.Errorf("%s: no newer set is wanted", when)
			}
		}
	}
	good("before there is a set", tokens(""), false)
	wanted("before there is a set", true)
	v.SetJWKS(readJWKS(t, jwkOf(t, &s.rsa.PublicKey, "RSA"), jwkOf(t, &s.p256.PublicKey, "P-256", "use", "sig"), jwkOf(t, &s.p384.PublicKey, "P-384", "alg", "ES384"),
		jwkOf(t, &s.p521.PublicKey, "P-521"), jwkOf(t, s.edPublic, "Ed25519")))
	good("by name", tokens(""), true)
	good("without a name", tokens("-"), true)
	wanted("known names", false)
	good("by names that are not in the set", tokens("other "), false)
	wanted("names that are not in the set", true)
	wanted("and only once", false)
	good("a name of another key", map[string]string{"ES256": signedBy(t, jwt.SigningMethodES256, s.p256, `{"alg":"ES256","kid":"P-384"}`, `{}`)}, false)
	v.SetJWKS(nil)
	good("without a set", tokens(""), false)
}

// keyName is how the keys of a kind are called in this file.
func keyName(public any) string {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return public.Curve.Params().Name
	default:
		return "Ed25519"
	}
}

func TestASetIsReadForWhatCanBeUsedOfIt(t *testing.T) {
	s := theSigners()
	rs := jwkOf(t, &s.rsa.PublicKey, "RSA")
	for what, key := range map[string]string{
		"for encryption": jwkOf(t, &s.rsa.PublicKey, "x", "use", "enc"), "a secret": jwkOf(t, []byte("secret"), "x"), "a short one": jwkOf(t, &s.rsaShort.PublicKey, "x"),
		"an unknown kind": `{"kty":"PQC","kid":"x"}`, "no kind": `{}`, "no object": `7`, "another algorithm": jwkOf(t, &s.rsa.PublicKey, "x", "alg", "PS256"),
		"an algorithm of another kind": jwkOf(t, &s.rsa.PublicKey, "x", "alg", "HS256"), "of another curve": jwkOf(t, &s.p256.PublicKey, "x", "alg", "ES384"),
		"for signing alone": strings.Replace(rs, "{", `{"key_ops":["sign"],`, 1), "no point": `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`, "nothing": `{"kty":"EC","crv":"P-256"}`,
		"a point of another curve": `{"kty":"EC","crv":"P-256"` + strings.TrimPrefix(jwkOf(t, &s.p384.PublicKey, "", "kty", "EC", "crv", "P-256"), `{"crv":"P-256"`),
		"half of an Ed25519 key":   `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, "no Ed25519": `{"kty":"OKP","crv":"X25519","x":"` + base64.RawURLEncoding.EncodeToString(s.edPublic) + `"}`,
		"no exponent": `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(s.rsa.N.Bytes()) + `"}`, "no RSA": `{"kty":"RSA"}`, "no base64": `{"kty":"RSA","n":"!","e":"AQAB"}`,
		"an exponent that is long": jwkOf(t, &s.rsa.PublicKey, "x", "e", "AQAAAAAB"), "an even one": jwkOf(t, &s.rsa.PublicKey, "x", "e", "AQAA"), "one": jwkOf(t, &s.rsa.PublicKey, "x", "e", "AQ"),
		"a long modulus": jwkOf(t, &s.rsa.PublicKey, "x", "n", strings.Repeat("_", 11000)), "one that is a bit too long": jwkOf(t, &s.rsa.PublicKey, "x", "n", base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{1}, 1025))),
		"an even modulus": jwkOf(t, &s.rsa.PublicKey, "x", "n", base64.RawURLEncoding.EncodeToString(append(s.rsa.N.Bytes()[:255], 2))),
	} {
		if set, err := ReadJWKS([]byte(`{"keys":[` + key + `]}`)); err == nil {
			t.Errorf("%s: got %d keys, want an error, since nothing is left", what, set.Len())
		}
		if set, err := ReadJWKS([]byte(`{"keys":[` + key + `,` + rs + `]}`)); err != nil || set.Len() != 1 {
			t.Errorf("%s, beside a good one: got %d keys and %v, want the good one", what, set.Len(), err)
		}
	}
	for what, text := range map[string]string{
		"nothing": "", "HTML": "<html>", "a list": "[" + rs + "]", "a key": rs, "no keys": `{"keys":[]}`, "an object of keys": `{"keys":{"a":` + rs + `}}`,
		"too many": `{"keys":[` + strings.Repeat(rs+",", jwksKeysMax) + rs + `]}`, "too long": `{"keys":[` + rs + `]}` + strings.Repeat(" ", JWKSBytesMax),
	} {
		if set, err := ReadJWKS([]byte(text)); err == nil {
			t.Errorf("%s: got %d keys, want an error", what, set.Len())
		}
	}
	if set := readJWKS(t, strings.TrimSuffix(strings.Repeat(rs+",", jwksKeysMax), ",")); set.Len() != jwksKeysMax {
		t.Errorf("got %d keys, want %d", set.Len(), jwksKeysMax)
	}
}

// A secret in a JWKS, and a public key of it as a secret, are the oldest ways of taking one kind of key for another.
func TestAKeyOfASetIsNoSecret(t *testing.T) {
	s := theSigners()
	v := verifierOf(t, TokenRules{})
	v.SetJWKS(readJWKS(t, jwkOf(t, &s.rsa.PublicKey, "a"), jwkOf(t, []byte("secret"), "b"), jwkOf(t, &s.p256.PublicKey, "c", "alg", "ES256")))
	for what, token := range map[string]string{
		"a secret of the set":   signedBy(t, jwt.SigningMethodHS256, []byte("secret"), `{"alg":"HS256","kid":"b"}`, `{}`),
		"a public key of it":    signedBy(t, jwt.SigningMethodHS256, pemOf(t, &s.rsa.PublicKey), `{"alg":"HS256","kid":"a"}`, `{}`),
		"a modulus":             signedBy(t, jwt.SigningMethodHS256, s.rsa.N.Bytes(), `{"alg":"HS256","kid":"a"}`, `{}`),
		"an empty secret":       signedBy(t, jwt.SigningMethodHS256, []byte{}, `{"alg":"HS256"}`, `{}`),
		"another kind by name":  signedBy(t, jwt.SigningMethodES256, s.p256, `{"alg":"ES256","kid":"a"}`, `{}`),
		"a key that signs none": signedBy(t, jwt.SigningMethodES256, s.p256Too, `{"alg":"ES256","kid":"c"}`, `{}`),
	} {
		if got, err := checked(t, v, token); !errors.Is(err, ErrBadToken) {
			t.Errorf("%s: got %v and %v, want it refused", what, got, err)
		}
	}
}

func TestOfKeysWithoutNamesSoManyAreTried(t *testing.T) {
	s := theSigners()
	other, mine := jwkOf(t, &s.p256Too.PublicKey, ""), jwkOf(t, &s.p256.PublicKey, "")
	token := signedBy(t, jwt.SigningMethodES256, s.p256, `{"alg":"ES256"}`, `{}`)
	v := verifierOf(t, TokenRules{})
	for place, want := range map[int]bool{0: true, PublicKeysMax - 1: true, PublicKeysMax: false} {
		keys := append([]string{jwkOf(t, &s.rsa.PublicKey, "")}, slices.Repeat([]string{other}, place)...)
		v.SetJWKS(readJWKS(t, append(keys, mine)...))
		if _, err := checked(t, v, token); (err == nil) != want {
			t.Errorf("behind %d others: got %v, want it good: %v", place, err, want)
		}
	}
}
