package cli

import (
	"fmt"
	"strings"
	"time"

	"ringcast/cli/settings"
)

// KeyStatus is how many keys and secrets a server has. None of them is ever shown.
type KeyStatus struct {
	APIKeys         int         `json:"api_keys"`
	TokenSecrets    int         `json:"token_secrets"`
	TokenPublicKeys int         `json:"token_public_keys"` // in files; those of a JWKS are beside it
	PusherApps      int         `json:"pusher_apps"`       // each has a key and a secret
	JWKS            *JWKSStatus `json:"jwks,omitempty"`    // absent: none is configured
}

// JWKSStatus is what has become of a JWKS.
type JWKSStatus struct {
	From    string    `json:"from"`              // its file, or its address without a query
	Keys    int       `json:"keys"`              // that can be used, of those that came last
	Came    time.Time `json:"came,omitzero"`     // when it was fetched last; absent: never, or it is a file
	Failure string    `json:"failure,omitempty"` // why the last fetch has failed; absent: it has not
}

// keysOf is the status of the settings in force.
func keysOf(s *settings.Settings, f *keyFetcher) (all KeyStatus) {
	all.APIKeys, all.TokenSecrets, all.TokenPublicKeys = len(s.APIKeys), s.TokenSecrets, s.TokenPublicKeys
	all.PusherApps = s.Loop.Apps.Len()
	if from := s.JWKSFrom(); from != "" {
		all.JWKS = &JWKSStatus{From: from}
		if s.Loop.Tokens != nil {
			all.JWKS.Keys = s.Loop.Tokens.JWKS().Len()
		}
		if s.JWKSURL != "" {
			all.JWKS.Came, all.JWKS.Failure = f.outcome()
		}
	}
	return all
}

// text is a line, empty where there are none.
func (k *KeyStatus) text() string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{k.APIKeys, "API key"}, {k.TokenSecrets, "token secret"}, {k.TokenPublicKeys, "public key"}, {k.PusherApps, "Pusher app"}} {
		if part.n > 0 {
			parts = append(parts, many(part.n, part.what))
		}
	}
	if j := k.JWKS; j != nil {
		text := "JWKS of " + many(j.Keys, "key")
		if j.Failure != "" {
			text += ", " + j.Failure
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("keys     %s\n", strings.Join(parts, "    "))
}

// many is a number of things.
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return countText(n) + " " + what + "s"
}
