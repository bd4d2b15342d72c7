package door

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// JWKS is a set of public keys (RFC 7517). Immutable.
type JWKS struct{ keys []publicKey }

// JWKSBytesMax bounds the text of a set: a wrong path or server must not fill the memory.
const JWKSBytesMax = 1 << 20

// jwksKeysMax bounds the keys of a set.
const jwksKeysMax = 100

// ReadJWKS reads the JSON text of a set. Keys that are not for signatures, or of kinds or algorithms that are unknown here, are left
// out (RFC 7517 §5), as are secrets, RSA keys that are too short and keys that cannot be read: the issuer may have them for others. A
// set of which nothing is left is an error, which contains nothing of the text.
func ReadJWKS(text []byte) (*JWKS, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(text) > JWKSBytesMax {
		return nil, fmt.Errorf("is longer than %d bytes, the most that a JWKS may be", JWKSBytesMax)
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, errors.New(`is not a JWKS, a JSON object such as {"keys": […]}`)
	}
	if len(document.Keys) > jwksKeysMax {
		return nil, fmt.Errorf("has %d keys, more than the %d allowed", len(document.Keys), jwksKeysMax)
	}
	set := &JWKS{}
	for _, raw := range document.Keys {
		if key, ok := readJWK(raw); ok {
			set.keys = append(set.keys, key)
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("has no key that tokens can be checked with: one for signatures, of RSA from 2048 bits on, EC or Ed25519")
	}
	return set, nil
}

// Len is the number of keys; nil has none.
func (s *JWKS) Len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// keysFor is the keys that a token with a header of alg and kid may be signed by, at most PublicKeysMax; without a kid those are the
// first of the set that are for alg. False: it has a kid, which no key of the set has.
func (s *JWKS) keysFor(alg, kid string) (keys []publicKey, known bool) {
	known = kid == ""
	if s == nil {
		return nil, known
	}
	for i := range s.keys {
		key := &s.keys[i]
		if kid != "" && key.id != kid {
			continue
		}
		known = true
		if key.method(alg) != nil && len(keys) < PublicKeysMax {
			keys = append(keys, *key)
		}
	}
	return keys, known
}

// jwk is the members of a key in a JWKS that are read here (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2).
type jwk struct {
	Type       string   `json:"kty"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Alg        string   `json:"alg"`
	ID         string   `json:"kid"`
	Curve      string   `json:"crv"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
}

// readJWK reads one key of a set; false: it is left out.
func readJWK(raw json.RawMessage) (key publicKey, ok bool) {
	var k jwk
	if json.Unmarshal(raw, &k) != nil || k.Use != "" && k.Use != "sig" || k.Operations != nil && !slices.Contains(k.Operations, "verify") {
		return key, false
	}
	public := k.public()
	if public == nil {
		return key, false
	}
	key, err := newPublicKey(public)
	if err != nil {
		return key, false
	}
	key.id = k.ID
	if k.Alg != "" {
		key.methods = slices.DeleteFunc(key.methods, func(m jwt.SigningMethod) bool { return m.Alg() != k.Alg })
	}
	return key, len(key.methods) > 0
}

// public is the key of a JWK, or nil.
func (k *jwk) public() any {
	switch k.Type + " " + k.Curve {
	case "RSA ":
		n, e := base64Int(k.N), base64Int(k.E)
		if e.BitLen() > 31 { // the most that Go's can have, on any system
			return nil
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC P-256":
		return k.point(elliptic.P256())
	case "EC P-384":
		return k.point(elliptic.P384())
	case "EC P-521":
		return k.point(elliptic.P521())
	case "OKP Ed25519":
		if x, err := base64.RawURLEncoding.DecodeString(k.X); err == nil {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

// point is the key on a curve, or nil if there is no such point on it.
func (k *jwk) point(curve elliptic.Curve) any {
	size := (curve.Params().BitSize + 7) / 8
	x, y := base64Int(k.X), base64Int(k.Y)
	if x.BitLen() > size*8 || y.BitLen() > size*8 {
		return nil
	}
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed (SEC 1 §2.3.3)
	x.FillBytes(point[1 : 1+size])
	y.FillBytes(point[1+size:])
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil
	}
	return key
}

// base64Int is a number as base64url; 0 where it is none.
func base64Int(text string) *big.Int {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) > rsaBitsMax/8+1 {
		return new(big.Int)
	}
	return new(big.Int).SetBytes(b)
}
