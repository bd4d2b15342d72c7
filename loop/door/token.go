package door

import (
	"encoding/base64"
	"errors"
)

// Token is what a token says whose signature and time are good. Nobody writes it.
type Token struct {
	User  string // sub; empty: the bearer has no name
	Info  []byte // info or b64info: JSON on one line; nil: none
	Group string // channel: the one group that the token is for; empty: it is a connection's token

	Groups  map[string][]byte // channels and subs of a connection's token: groups that its bearer may join, with what subs says of the bearer there, JSON on one line, or nil
	Data    map[string][]byte // what subs has for the bearer itself of some of these, JSON on one line
	Join    []string          // patterns of groups that its bearer may join, see Matches
	Publish []string          // patterns of groups to which its bearer may publish

	IssuedAt int64 // iat, Unix seconds; 0: it does not say, and counts as older than any revocation
	Expires  int64 // exp, likewise; 0: never. From then on the token is refused
	Ends     int64 // when what it allows ends: expire_at, or else exp; Unix seconds; 0: never
}

// Bounds of a token, and of what it says.
const (
	TokenBytesMax = 8 << 10 // as it is sent; of more nothing is looked at. Request heads, which may bring one, have 16 KiB
	UserBytesMax  = 255     // as much as the name of a group
	infoBytesMax  = 4 << 10 // it goes out with everything that the bearer says
	patternsMax   = 100     // of join, and of publish: a group's name may have to be compared with each
	groupNameMax  = 255     // bytes
)

// PatternBytesMax bounds a pattern, for Matches, that somebody may write.
const PatternBytesMax = 1024

// clockSkew is how far ahead of our clock a token may have been made, in seconds: its issuer has another clock. Its end is exact.
const clockSkew = 30

// Why a token is refused.
var (
	ErrTokenExpired = errors.New("the token has expired")
	ErrBadToken     = errors.New("the token is not valid here")
)

// segments cuts a token at its two dots; false: it has more or fewer, or a byte that is in no base64url text. Package base64 would
// skip line breaks.
func segments(token []byte) (parts [3][]byte, ok bool) {
	at, dots := 0, 0
	for i, c := range token {
		switch {
		case c == '.' && dots < 2:
			parts[dots], at, dots = token[at:i], i+1, dots+1
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
		default:
			return parts, false
		}
	}
	parts[2] = token[at:]
	return parts, dots == 2
}

// decoded is the bytes of a segment; false: it is not base64url in the one way in which it may be written.
func decoded(segment []byte) ([]byte, bool) {
	b := make([]byte, base64.RawURLEncoding.DecodedLen(len(segment)))
	n, err := base64.RawURLEncoding.Strict().Decode(b, segment)
	return b[:n], err == nil
}
