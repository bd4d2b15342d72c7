package door

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// An operator learns what is wrong with a token, and nothing of what it says.
func TestAFaultIsNamedAndNothingOfTheToken(t *testing.T) {
	s := theSigners()
	ours := verifierOf(t, TokenRules{Secrets: [][]byte{[]byte("secret")}, Issuer: "we", Audience: "us"})
	public := verifierOf(t, TokenRules{PublicKeys: []any{&s.p256.PublicKey}})
	withSet := verifierOf(t, TokenRules{})
	withSet.SetJWKS(readJWKS(t, jwkOf(t, &s.p256.PublicKey, "ours")))
	good := func(more string) string {
		return bySecret(t, `{"sub":"a name","iss":"we","aud":"us"`+more+`}`)
	}
	es := func(key any, header string) string {
		return signedBy(t, jwt.SigningMethodES256, key, header, `{"sub":"a name"}`)
	}
	for name, test := range map[string]struct {
		v     *Verifier
		token string
		want  Fault
		says  string
	}{
		"not configured":     {nil, good(""), FaultNotConfigured, "no tokens"},
		"empty":              {ours, "", FaultMalformed, "three"},
		"garbage":            {ours, "garbage", FaultMalformed, "three"},
		"too long":           {ours, strings.Repeat("x", TokenBytesMax+1), FaultMalformed, "too long"},
		"no JSON":            {ours, "e30.e30", FaultMalformed, "three"},
		"no alg":             {ours, "e30.e30.e30", FaultMalformed, "alg"},
		"crit":               {ours, signedBy(t, jwt.SigningMethodHS256, []byte("secret"), `{"alg":"HS256","crit":[]}`, `{}`), FaultMalformed, "crit"},
		"alg none":           {ours, "eyJhbGciOiJub25lIn0.e30.", FaultAlgorithm, "algorithm"},
		"no key for it":      {ours, es(s.p256, `{"alg":"ES256"}`), FaultAlgorithm, "algorithm"},
		"no secret":          {public, good(""), FaultAlgorithm, "secret"},
		"another secret":     {ours, signedBy(t, jwt.SigningMethodHS256, []byte("other"), `{"alg":"HS256"}`, `{"sub":"a name"}`), FaultSignature, "secrets"},
		"a changed one":      {ours, good("")[:len(good(""))-4] + "AAAA", FaultSignature, "secrets"},
		"another public key": {public, es(s.p256Too, `{"alg":"ES256","kid":"secret kid"}`), FaultSignature, "public keys"},
		"another in the set": {withSet, es(s.p256Too, `{"alg":"ES256","kid":"ours"}`), FaultSignature, "public keys"},
		"an unknown key":     {withSet, es(s.p256, `{"alg":"ES256","kid":"secret kid"}`), FaultUnknownKey, "kid"},
		"a wrong claim":      {ours, good(`,"exp":"soon"`), FaultClaim, "exp"},
		"from the future":    {ours, good(`,"iat":1800000100`), FaultNotYetValid, "iat"},
		"not before":         {ours, good(`,"nbf":1800000100`), FaultNotYetValid, "nbf"},
		"another issuer":     {ours, bySecret(t, `{"sub":"a name","iss":"they","aud":"us"}`), FaultIssuer, "iss"},
		"no audience":        {ours, bySecret(t, `{"sub":"a name","iss":"we"}`), FaultAudience, "aud"},
		"expired":            {ours, good(`,"exp":1799999999`), FaultExpired, "expired"},
		"its use has ended":  {ours, good(`,"expire_at":1799999999`), FaultExpired, "expired"},
	} {
		_, err := test.v.Verify([]byte(test.token), time.Unix(atNow, 0))
		fault, why := FaultOf(err)
		if fault != test.want || !strings.Contains(why, test.says) {
			t.Errorf("%s: got %v, %q, want %v that says %q", name, fault, why, test.want, test.says)
		}
		for _, part := range append(strings.Split(test.token, "."), "a name", "they", "secret kid", "soon") {
			if len(part) > 3 && strings.Contains(fmt.Sprint(err, fault, why), part) {
				t.Errorf("%s: %v has %q of the token in it", name, err, part)
			}
		}
		if test.v != nil && !errors.Is(err, ErrBadToken) && !errors.Is(err, ErrTokenExpired) {
			t.Errorf("%s: got %v, want it to be one of the two", name, err)
		}
	}
	if fault, why := FaultOf(nil); fault != FaultNone || why != "" {
		t.Errorf("of none: got %v, %q", fault, why)
	}
	for f := range Fault(len(faultNames)) {
		if (f.String() == "") != (f == FaultNone) {
			t.Errorf("fault %d has the name %q", f, f)
		}
	}
}
