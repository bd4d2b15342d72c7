package settings

import (
	"fmt"
	"strings"
)

// apiFlags are the flags of start about the server API.
type apiFlags struct {
	APIKeys Secrets `name:"api-key" sep:"none" placeholder:"KEY|@FILE" env:"RINGCAST_API_KEY" help:"A key with which backends use the server API, POST /api/publish and so on; may be repeated, so that it can be changed. @FILE has one in each line. Without a key there is no server API. What is typed here others on this machine can see: prefer a file or the environment."`
}

// Bounds on API keys. All are compared with the key of each request.
const (
	apiKeysMax      = 16
	apiKeyBytesGood = 16 // as many random bytes in hexadecimal are 64 bits
)

// apiKeys reads the flags. A key has to fit into a header.
func (f *apiFlags) apiKeys(c *checker, s *Settings) {
	keys := c.secrets("api-key", f.APIKeys, apiKeysMax)
	for i, key := range keys {
		if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.wrongSecret("api-key", fmt.Sprintf(" (key %d of %d)", i+1, len(keys)), "is not of printable ASCII characters without spaces, and could not be sent in a header; make another")
		}
	}
	s.APIKeys = keys
	s.typed.contents["api-key"] = fingerprint(strings.Join(keys, "\n"))
	s.typed.APIKeys = keys.hidden()
}

// adoptAPI takes over the keys of settings that were read anew.
func (s *Settings) adoptAPI(read *Settings) {
	s.APIKeys, s.typed.apiFlags = read.APIKeys, read.typed.apiFlags // what they were made of adoptTokens has taken over
}

// APIWarning is a sentence about keys that an operator should see at every start and each change; empty: there is nothing to say.
func (s *Settings) APIWarning() string {
	short := 0
	for _, key := range s.APIKeys {
		if len(key) < apiKeyBytesGood {
			short++
		}
	}
	if short == 0 {
		return ""
	}
	return fmt.Sprintf("Keys of --api-key shorter than %d bytes: %d. Whoever tries long enough may find a short one; make one with openssl rand -hex 32.", apiKeyBytesGood, short)
}
