package settings

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"ringcast/loop/door"
)

// tokenFlags are the flags of start about tokens: who has made those that are good, and who needs one. All can change while the server
// runs.
type tokenFlags struct {
	TokenSecrets    Secrets  `name:"token-secret" sep:"none" placeholder:"SECRET|@FILE" env:"RINGCAST_TOKEN_SECRET" help:"A secret by which a backend signs tokens, HS256, HS384 or HS512; may be repeated, so that it can be changed. @FILE has one in each line. What is typed here others on this machine can see: prefer a file or the environment."`
	TokenPublicKeys []string `name:"token-public-key" placeholder:"FILE" env:"RINGCAST_TOKEN_PUBLIC_KEY" help:"PEM file with the public key for tokens that were signed by RS256, ES256, EdDSA and the like; may be repeated."`
	TokenJWKS       string   `name:"token-jwks" placeholder:"FILE|URL" env:"RINGCAST_TOKEN_JWKS" help:"JWKS, a set of public keys, in a file or at an https address, where it is fetched again and again."`
	TokenAudience   string   `name:"token-audience" placeholder:"NAME" env:"RINGCAST_TOKEN_AUDIENCE" help:"What the claim aud of a token has to name. Default: anything."`
	TokenIssuer     string   `name:"token-issuer" placeholder:"NAME" env:"RINGCAST_TOKEN_ISSUER" help:"What the claim iss of a token has to be. Default: anything."`
	Anonymous       string   `name:"anonymous" default:"auto" placeholder:"on|off" env:"RINGCAST_ANONYMOUS" help:"on or off: whether clients may be here without a token. Default: on, and for Centrifuge clients off if tokens are configured. off: also plain clients may do nothing until they have sent one."`
}

// tokenTextMax bounds audience and issuer, bytes.
const tokenTextMax = 1 << 10

// tokens reads the flags into the limits of s.
func (f *tokenFlags) tokens(c *checker, s *Settings) {
	contents := map[string]string{}
	secrets := c.secrets("token-secret", f.TokenSecrets, door.SecretsMax)
	contents["token-secret"] = fingerprint(strings.Join(secrets, "\n"))
	s.typed.TokenSecrets, s.shortSecrets = secrets.hidden(), secrets.short()
	rules := door.TokenRules{Audience: c.text("token-audience", f.TokenAudience), Issuer: c.text("token-issuer", f.TokenIssuer)}
	for _, secret := range secrets {
		rules.Secrets = append(rules.Secrets, []byte(secret))
	}
	rules.PublicKeys, contents["token-public-key"] = c.publicKeys("token-public-key", f.TokenPublicKeys)
	s.TokenSecrets, s.TokenPublicKeys = len(rules.Secrets), len(rules.PublicKeys)
	var set *door.JWKS
	s.JWKSURL, set, contents["token-jwks"] = c.jwks("token-jwks", f.TokenJWKS)
	s.typed.TokenJWKS = withoutQuery(f.TokenJWKS)
	s.typed.contents = contents

	anonymous := c.oneOf("anonymous", f.Anonymous, "on", "off", "auto")
	l := &s.Loop.Limits
	if configured := len(rules.Secrets)+len(rules.PublicKeys) > 0 || f.TokenJWKS != ""; configured && c.err == nil {
		verifier, err := door.NewVerifier(rules)
		if err != nil {
			c.wrong("token-public-key", strings.Join(f.TokenPublicKeys, ","), "cannot be used: %v", err)
			return
		}
		verifier.SetJWKS(set)
		l.Tokens = verifier
	}
	l.TokensOnly = anonymous == "off"
	l.NoAnonymous = l.TokensOnly || anonymous == "auto" && l.Tokens != nil
}

// text is a text that an operator may leave empty.
func (c *checker) text(flag, value string) string {
	if len(value) > tokenTextMax {
		c.wrong(flag, value[:100]+"…", "has more than %d bytes; shorten it", tokenTextMax)
	}
	return value
}

// publicKeys are the keys in PEM files, and what stands in the files.
func (c *checker) publicKeys(flag string, names []string) (keys []any, contents string) {
	for _, name := range names {
		if strings.Contains(name, "-----BEGIN") { // it may be a private one
			c.wrongSecret(flag, "", "is a key; write it into a file, and name the file")
			return nil, ""
		}
		text, err := c.g.readFile(name, keyFileMax)
		if err == nil {
			var read []any
			if read, err = door.ReadPublicKeys(text); err == nil {
				keys = append(keys, read...)
				contents += string(text) + "\n"
				continue
			}
		}
		c.wrong(flag, name, "%v", err)
		return nil, ""
	}
	if len(keys) > door.PublicKeysMax {
		c.wrong(flag, strings.Join(names, ","), "has %d keys, more than the %d allowed; leave off old ones, or make a JWKS of them", len(keys), door.PublicKeysMax)
	}
	return keys, fingerprint(contents)
}

// jwks is where a JWKS is fetched from, or one that stands in a file, and what stands there.
func (c *checker) jwks(flag, value string) (address string, set *door.JWKS, contents string) {
	if value == "" {
		return "", nil, ""
	}
	if strings.Contains(value, "://") {
		u, err := url.Parse(value)
		switch {
		case err != nil: // which would show a password
			c.wrongSecret(flag, "", "is not an address; write one such as https://id.example.org/.well-known/jwks.json")
		case u.User != nil:
			c.wrongSecret(flag, "", "has a name or password in it, which would be shown; leave it off")
		default:
			if err := CheckJWKSURL(u); err != nil {
				c.wrong(flag, withoutQuery(value), "%v", err)
			}
		}
		return value, nil, fingerprint(value)
	}
	text, err := c.g.readFile(value, door.JWKSBytesMax)
	if err == nil {
		set, err = door.ReadJWKS(text)
	}
	if err != nil {
		c.wrong(flag, value, "%v", err)
	}
	return "", set, fingerprint(string(text))
}

// withoutQuery is an address that may be shown: a query may have a secret in it. The name of a file stays as it is.
func withoutQuery(value string) string {
	if !strings.Contains(value, "://") {
		return value
	}
	shown, _, _ := strings.Cut(value, "?")
	return shown
}

// CheckJWKSURL says why a JWKS must not be fetched from an address, and how to mend it. Whoever can change what is fetched can make
// tokens for anybody; so it is https, or does not leave this machine.
func CheckJWKSURL(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	switch {
	case u.Hostname() == "":
		return errors.New("has no host; write an address such as https://id.example.org/.well-known/jwks.json")
	case u.Scheme == "https", u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()):
		return nil
	case u.Scheme == "http":
		return errors.New("is not encrypted: who is on the way could make tokens; write https, or fetch it into a file by other means, and name the file")
	}
	return fmt.Errorf("has the scheme %s; write https", u.Scheme)
}

// tokenTexts are the settings of these flags, as they were written, with what stands in their files.
func (t *texts) tokenTexts() (all []string) {
	texts := textsOf(t.tokenFlags)
	for name, text := range texts {
		all = append(all, name+"="+text+"\n"+t.contents[name])
	}
	slices.Sort(all)
	return all
}

// adoptTokens takes over the tokens of settings that were read anew. Where nothing of them has changed it is the same Verifier, and
// where the JWKS still comes from the same address, what was fetched last.
func (s *Settings) adoptTokens(old, read *Settings) {
	s.JWKSURL, s.shortSecrets, s.typed.tokenFlags, s.typed.contents = read.JWKSURL, read.shortSecrets, read.typed.tokenFlags, read.typed.contents
	s.TokenSecrets, s.TokenPublicKeys = read.TokenSecrets, read.TokenPublicKeys
	switch {
	case slices.Equal(old.typed.tokenTexts(), read.typed.tokenTexts()):
		s.Loop.Tokens = old.Loop.Tokens
	case s.JWKSURL != "" && s.JWKSURL == old.JWKSURL:
		s.Loop.Tokens.ShareJWKS(old.Loop.Tokens)
	}
}

// JWKSFrom is the file or the address of the JWKS, as it may be shown; empty: there is none.
func (s *Settings) JWKSFrom() string { return s.typed.TokenJWKS }

// TokenWarnings are sentences about tokens that an operator should see at every start and each change.
func (s *Settings) TokenWarnings() (all []string) {
	if n := s.shortSecrets; n > 0 {
		all = append(all, fmt.Sprintf("Secrets of --token-secret shorter than %d bytes: %d. Whoever has a token can find out a short one by trying, and make tokens.", secretBytesGood, n))
	}
	if s.Loop.TokensOnly && s.Loop.Tokens == nil && s.Loop.Apps.Len() == 0 {
		all = append(all, "No client can do anything: --anonymous is off, and no tokens are configured (--token-secret, --token-public-key, --token-jwks).")
	}
	return all
}
