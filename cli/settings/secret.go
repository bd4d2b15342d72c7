package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Secrets are the values of a flag that may be given several times and are never shown: not in a list of changes, a status, a log, a
// warning or an error. A flag has one, exactly as it was typed. The config file has one as a string, or several as an array of strings.
// In the environment several stand between commas; a comma in one of them is written \, there. The tag secret of a flag says that it
// has this type.
//
// Whatever prints Secrets prints how many there are. So nothing may compare them by their text, see differences.
type Secrets []string

// String is the number of secrets.
func (s Secrets) String() string {
	if len(s) == 0 {
		return ""
	}
	return fmt.Sprintf("%d, hidden", len(s))
}

// GoString is String: %#v shows no more.
func (s Secrets) GoString() string { return s.String() }

// Format is String for every verb of package fmt, which would show the elements to some.
func (s Secrets) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalJSON is String, as JSON.
func (s Secrets) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", s.String()), nil }

// Decode appends what was typed, or takes what Resolve has found elsewhere; kong calls it by this name.
func (s *Secrets) Decode(ctx *kong.DecodeContext) error {
	token := ctx.Scan.Pop()
	switch v := token.Value.(type) {
	case string:
		if token.IsEOL() {
			return errors.New(`missing value, expecting "<arg>"`)
		}
		if v == "" {
			return errors.New("is empty; leave it off, or write a secret")
		}
		*s = append(*s, v)
	case []string:
		*s = slices.DeleteFunc(v, func(one string) bool { return one == "" })
	default:
		return errors.New("is no text")
	}
	return nil
}

// isSecret says whether a setting's values are never shown.
func isSecret(name string) bool { return slices.Contains(secretNames, name) }

// secretNames are the settings that are Secrets.
var secretNames = func() (names []string) {
	eachFlag(reflect.ValueOf(Flags{}), func(tag reflect.StructTag, _ any) {
		if _, is := tag.Lookup("secret"); is {
			names = append(names, tag.Get("name"))
		}
	})
	return names
}()

// secretsEnd stands behind each secret but the last where the values of a config file are kept. No secret has it.
const secretsEnd = "\x00"

// secretsIn are the secrets of a variable of the environment.
func secretsIn(variable string) []string { return kong.SplitEscaped(variable, ',') }

// secretsOf are the secrets that a config file has, as secretText keeps them.
func secretsOf(kept string) []string { return strings.Split(kept, secretsEnd) }

// shortSecretBytes is the length below which a secret is warned of: so many random bytes in hexadecimal are 64 bits.
const shortSecretBytes = 16

// short are the places, from 1, of the secrets that are shorter than a secret should be.
func (s Secrets) short() (places []int) {
	for i, one := range s {
		if len(one) < shortSecretBytes {
			places = append(places, i+1)
		}
	}
	return places
}

// secretText is a JSON value as the values of a config file are kept: a string, or an array of strings. The error does not show it.
func secretText(key string, value []byte) (string, error) {
	var one string
	var several []string
	if json.Unmarshal(value, &one) == nil && value[0] == '"' {
		several = []string{one}
	} else if json.Unmarshal(value, &several) != nil || several == nil {
		return "", fmt.Errorf("key %q must be a string or an array of strings", key)
	}
	if strings.Contains(strings.Join(several, ""), secretsEnd) {
		return "", fmt.Errorf("key %q has a character that cannot be in a secret, \\u0000", key)
	}
	return strings.Join(several, secretsEnd), nil
}
