package settings

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Secrets is the value of a flag that is never shown: in the place of a secret its texts have how many there are. An element is a secret,
// or, after @, the name of a file; both have one secret a line.
type Secrets []string

// String is what is shown of secrets.
func (s Secrets) String() string {
	switch len(s) {
	case 0:
		return ""
	case 1:
		return "1 secret"
	}
	return fmt.Sprintf("%d secrets", len(s))
}

// GoString is String, so that no way of printing settings shows them.
func (s Secrets) GoString() string { return s.String() }

// hidden is as many secrets as there are, of which nothing is left to be shown.
func (s Secrets) hidden() Secrets { return make(Secrets, len(s)) }

// short is how many secrets are so short that they can be found by trying, by whoever has something that was signed with one.
func (s Secrets) short() (n int) {
	for _, secret := range s {
		if len(secret) < secretBytesGood {
			n++
		}
	}
	return n
}

// fingerprint is a text of which only can be told whether it is another one.
func fingerprint(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// isSecret says whether a setting is one of Secrets.
func isSecret(name string) bool { return secretNames[name] }

var secretNames = map[string]bool{}

func init() {
	eachFlag(reflect.ValueOf(Flags{}), func(tag reflect.StructTag, value any) {
		if _, is := value.(Secrets); is {
			secretNames[tag.Get("name")] = true
		}
	})
}

const (
	secretBytesMax  = 1 << 10 // longer ones are hashed to less (RFC 2104 §3)
	secretBytesGood = 32      // as long as the hash of HS256 (RFC 7518 §3.2)
	keyFileMax      = 64 << 10
)

// secrets are all secrets of a flag, one by one; most bounds them. White space around one is not part of it: files end with a line
// break.
func (c *checker) secrets(flag string, values Secrets, most int) (all Secrets) {
	for _, value := range values {
		where := "" // of a secret that was typed nothing is said
		if name, isFile := strings.CutPrefix(value, "@"); isFile {
			where = fmt.Sprintf(" %q", value)
			text, err := c.g.readFile(name, keyFileMax)
			if err != nil {
				c.wrongSecret(flag, where, "%v", err)
				return nil
			}
			value = string(text)
		}
		found := false
		for line := range strings.Lines(value) {
			line = strings.TrimSpace(line)
			switch {
			case line == "":
				continue
			case strings.HasPrefix(line, "-----BEGIN"):
				c.wrongSecret(flag, where, "is a key in PEM and no secret, which only you and your backend know; if it is a public key, name its file with --token-public-key")
				return nil
			case where != "" && line[0] == '#':
				c.wrongSecret(flag, where, "has a line that begins with #, which would be a secret that others may know; leave comments out, and begin no secret so")
				return nil
			case !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl):
				c.wrongSecret(flag, where, "is not text; write a secret in a line, in hexadecimal for example")
				return nil
			case len(line) > secretBytesMax:
				c.wrongSecret(flag, where, "has a secret of more than %d bytes; shorten it", secretBytesMax)
				return nil
			}
			all, found = append(all, line), true
		}
		if !found {
			c.wrongSecret(flag, where, "is empty; write a secret, or leave it off")
		}
	}
	if len(all) > most {
		c.wrongSecret(flag, "", "has %d secrets, more than the %d allowed; leave off old ones", len(all), most)
	}
	return all
}

// wrongSecret is wrong for a value that is not to be shown.
func (c *checker) wrongSecret(flag, where, format string, args ...any) {
	if c.err == nil {
		c.err = Usagef("--%s%s%s "+format, append([]any{flag, where, c.g.Origin(flag)}, args...)...)
	}
}

// readFile reads a file that an operator has named, of at most so many bytes. Its error says how to mend it.
func (g *Globals) readFile(name string, most int64) ([]byte, error) {
	f, err := g.reading.Open(name)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err // the caller names the file
		}
		return nil, fmt.Errorf("cannot be read: %w; name a file that can be read", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, fmt.Errorf("cannot be read: %w; name a file that can be read", err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("is longer than %s, the most that it may be", SizeText(most))
	}
	return text, nil
}
