package settings

import (
	"fmt"
	"strings"
)

// apiFlags are the flags of start for the server API.
type apiFlags struct {
	APIKeys Secrets `name:"api-key" secret:"" placeholder:"KEY" env:"RINGCAST_API_KEY" help:"Key with which backends may use the server API, POST /api/publish and so on; may be repeated, so that a key can be changed while the old one still counts. Without one there is no server API. Other users of this machine can see command lines: rather set it in the config file or the environment."`
}

// Bounds on API keys. All are compared with the key of each request.
const (
	apiKeysMax     = 16
	apiKeyBytesMax = 1_024
)

// apiKeys checks that every key can stand in a header. The error does not show it.
func (c *checker) apiKeys(flag string, keys Secrets) []string {
	if len(keys) > apiKeysMax {
		c.wrongSecret(flag, "is given %d times; name at most %d keys", len(keys), apiKeysMax)
	}
	for i, key := range keys {
		if len(key) > apiKeyBytesMax || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.wrongSecret(flag, "(key %d of %d) must be of 1 to %d printable ASCII characters without spaces, since it is sent in a header",
				i+1, len(keys), apiKeyBytesMax)
		}
	}
	return keys
}

// wrongSecret is wrong for a value that must not be shown.
func (c *checker) wrongSecret(flag, format string, args ...any) {
	if c.err == nil {
		c.err = Usagef("--%s%s "+format, append([]any{flag, c.g.Origin(flag)}, args...)...)
	}
}

// ShortAPIKeys says which API keys are short enough to be guessed; empty: none.
func (s *Settings) ShortAPIKeys() string {
	places := Secrets(s.APIKeys).short()
	if len(places) == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %d", strings.Trim(fmt.Sprint(places), "[]"), len(s.APIKeys))
}
