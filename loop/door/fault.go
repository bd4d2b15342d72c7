package door

import "errors"

// Fault is what is wrong with a token, as it is told to operators. Clients are told less: who tries tokens should not learn what is
// right about them.
type Fault uint8

// The faults. What a token claims is not read before its signature is found good, so from FaultClaim on somebody with a key has made it.
const (
	FaultNone          Fault = iota
	FaultNotConfigured       // there are no keys for any token
	FaultMalformed           // it is no token: not three parts of base64url, not JSON where that belongs, too long
	FaultAlgorithm           // no key is for the algorithm that it names
	FaultUnknownKey          // it names a key (kid) that is not in the JWKS
	FaultSignature           // of the keys that are for it none has made the signature
	FaultClaim               // one of its claims is of the wrong kind
	FaultNotYetValid         // iat or nbf lies ahead
	FaultIssuer              // iss is another
	FaultAudience            // aud is another
	FaultExpired             // its time, or that of what it allows, is over
	FaultRevoked             // its user's tokens were revoked after it was issued
	FaultOtherUser           // it is of another user than the connection
	FaultOtherUse            // it is for one group where the connection's is wanted, or the other way round, or for another group
)

var faultNames = [...]string{"", "not_configured", "malformed", "algorithm", "unknown_key", "signature", "claim", "not_yet_valid", "issuer", "audience",
	"expired", "revoked", "other_user", "other_use"}

// String is a word for programs.
func (f Fault) String() string { return faultNames[f] }

// refused is ErrBadToken with what is wrong.
type refused struct {
	fault Fault
	why   string // a part of a sentence about the token, and none of its text
}

func (r *refused) Error() string { return ErrBadToken.Error() + ": " + r.why }

// Unwrap is ErrBadToken.
func (r *refused) Unwrap() error { return ErrBadToken }

func refusal(fault Fault, why string) error { return &refused{fault, why} }

// FaultOf is what an error of Verify says, and the same as the end of a sentence about the token. It has nothing of the token's text.
func FaultOf(err error) (fault Fault, why string) {
	var r *refused
	switch {
	case errors.As(err, &r):
		return r.fault, r.why
	case errors.Is(err, ErrTokenExpired):
		return FaultExpired, "it has expired"
	}
	return FaultNone, ""
}
