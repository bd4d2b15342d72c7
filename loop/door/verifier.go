package door

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TokenRules is what an operator configures about tokens. Immutable while in use.
type TokenRules struct {
	Secrets    [][]byte // any of them may have signed a token, by HS256, HS384 or HS512; at most SecretsMax
	PublicKeys []any    // of ReadPublicKeys: a signature by any of them is good; at most PublicKeysMax. Each is for the algorithms of its kind alone
	Audience   string   // aud has to name it; empty: any
	Issuer     string   // iss has to be it; empty: any
}

// Bounds of the rules: a token may have to be checked with each key, on a loop.
const (
	SecretsMax    = 16
	PublicKeysMax = 4
)

// Verifier checks tokens (RFC 7519, as JSON Web Signatures, RFC 7515). A key decides by which algorithms it is used, and never the
// token: of the token's header alg only chooses among the keys that are for it, kid among those of a JWKS, and nothing else is
// heeded. So alg none has no keys, and a public key is never a secret.
//
// What a token claims is read when its signature was found good, and not before. The parser of package jwt reads it sooner, takes
// the last of two claims of one name, and puts bytes of the token into its errors; so of that package only the signatures are used.
//
// Owner: any goroutine. It is immutable but for the JWKS (atomic).
type Verifier struct {
	secrets          [][]byte
	keys             []publicKey
	audience, issuer string

	jwks *sharedJWKS
}

// sharedJWKS is the JWKS of one or several Verifiers.
type sharedJWKS struct {
	set    atomic.Pointer[JWKS]
	wanted chan struct{} // has one place
}

// NewVerifier is a Verifier by rules; the error says which of them is wrong, and no secret.
func NewVerifier(r TokenRules) (*Verifier, error) {
	v := &Verifier{secrets: r.Secrets, audience: r.Audience, issuer: r.Issuer, jwks: &sharedJWKS{wanted: make(chan struct{}, 1)}}
	if len(r.Secrets) > SecretsMax {
		return nil, fmt.Errorf("%d secrets are more than %d", len(r.Secrets), SecretsMax)
	}
	for _, secret := range r.Secrets {
		if len(secret) == 0 {
			return nil, errors.New("a secret is empty")
		}
	}
	if len(r.PublicKeys) > PublicKeysMax {
		return nil, fmt.Errorf("%d public keys are more than %d; a JWKS may have more", len(r.PublicKeys), PublicKeysMax)
	}
	for _, public := range r.PublicKeys {
		key, err := newPublicKey(public)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, key)
	}
	return v, nil
}

// SetJWKS has tokens checked with the keys of a set too, in place of those of the set before; nil: of none. Any goroutine.
func (v *Verifier) SetJWKS(set *JWKS) { v.jwks.set.Store(set) }

// JWKS is the set that tokens are checked with now; nil: there is none. Any goroutine.
func (v *Verifier) JWKS() *JWKS { return v.jwks.set.Load() }

// ShareJWKS has v and other be of one JWKS from now on, that of other: what is set for one is set for both. Call it before v is in use.
func (v *Verifier) ShareJWKS(other *Verifier) { v.jwks = other.jwks }

// WantsJWKS has something in it when a token has named a key that is not in the set: the set may be old. Verify never waits for
// whoever takes from it.
func (v *Verifier) WantsJWKS() <-chan struct{} { return v.jwks.wanted }

// Verify is what a token says, or ErrTokenExpired or ErrBadToken, wrapped around what is wrong with it, which never contains the
// token. A token that is wrong in another way too is never said to have expired. A nil Verifier refuses all. Any goroutine; it takes
// as long as the check of PublicKeysMax signatures and those of as many keys of the JWKS, or of SecretsMax.
func (v *Verifier) Verify(token []byte, now time.Time) (*Token, error) {
	switch {
	case v == nil:
		return nil, refusal(FaultNotConfigured, "no tokens are configured")
	case len(token) > TokenBytesMax:
		return nil, refusal(FaultMalformed, "it is too long")
	}
	parts, ok := segments(token)
	if !ok {
		return nil, refusal(FaultMalformed, "it is not of three segments of base64url")
	}
	alg, kid, err := readHeader(parts[0])
	if err != nil {
		return nil, err
	}
	signature, ok := decoded(parts[2])
	if !ok {
		return nil, refusal(FaultMalformed, "its signature is not base64url")
	}
	if err := v.signed(alg, kid, string(token[:len(token)-len(parts[2])-1]), signature); err != nil {
		return nil, err
	}
	payload, ok := decoded(parts[1])
	if !ok {
		return nil, refusal(FaultMalformed, "its claims are not base64url")
	}
	return v.claims(payload, now.Unix())
}

// readHeader reads the header of a token.
func readHeader(segment []byte) (alg, kid string, err error) {
	text, ok := decoded(segment)
	if !ok {
		return "", "", refusal(FaultMalformed, "its header is not base64url")
	}
	header, ok := readObject(text)
	if !ok {
		return "", "", refusal(FaultMalformed, "its header is not a JSON object with each name once")
	}
	if _, critical := header["crit"]; critical { // RFC 7515 §4.1.11: whoever does not know all that it names refuses, and we know nothing
		return "", "", refusal(FaultMalformed, "its header has crit")
	}
	if alg, ok = readString(header["alg"]); !ok {
		return "", "", refusal(FaultMalformed, "its header has no alg")
	}
	if raw, named := header["kid"]; named {
		if kid, ok = readString(raw); !ok {
			return "", "", refusal(FaultMalformed, "its kid is not a string")
		}
	}
	return alg, kid, nil
}

// signed is nil if one of our keys that are for alg has made a signature over text, and else says what is wrong.
func (v *Verifier) signed(alg, kid, text string, signature []byte) error {
	if method := methodOfSecrets(alg); method != nil {
		good := false
		for _, secret := range v.secrets { // all of them, so that the time tells nothing of which it was
			good = method.Verify(text, signature, secret) == nil || good
		}
		switch {
		case good:
			return nil
		case len(v.secrets) == 0:
			return refusal(FaultAlgorithm, "its algorithm is for a secret, and none is configured")
		}
		return refusal(FaultSignature, "its signature is by none of the secrets")
	}
	set := v.jwks.set.Load()
	by, known := set.keysFor(alg, kid)
	if !known {
		select {
		case v.jwks.wanted <- struct{}{}:
		default:
		}
	}
	tried := false
	for _, keys := range [...][]publicKey{by, v.keys} {
		for i := range keys {
			method := keys[i].method(alg)
			if tried = tried || method != nil; method != nil && method.Verify(text, signature, keys[i].public) == nil {
				return nil
			}
		}
	}
	switch {
	case set != nil && !known:
		return refusal(FaultUnknownKey, "the key that it names (kid) is not in the JWKS, and no other that is for it has signed it")
	case !tried:
		return refusal(FaultAlgorithm, "no key is for its algorithm")
	}
	return refusal(FaultSignature, "its signature is by none of the public keys that are for it")
}

// methodOfSecrets is the algorithm of a name if it is one for secrets, or nil.
func methodOfSecrets(alg string) jwt.SigningMethod {
	switch alg {
	case "HS256":
		return jwt.SigningMethodHS256
	case "HS384":
		return jwt.SigningMethodHS384
	case "HS512":
		return jwt.SigningMethodHS512
	}
	return nil
}
