package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// configFile is a config file that has been read: one JSON object from flag names to values. It may hold every
// setting that has an environment variable, except --config itself, and those in fileTexts. kong's own JSON loader is not
// used: with it the file takes precedence over the environment, and a key that no flag has is ignored, so that a misspelt
// setting silently keeps its default.
type configFile struct {
	name   string            // as the operator wrote it
	values map[string]string // by flag name
	groups []byte            // JSON, not parsed yet; nil: none
}

// configBytesMax bounds the file: a wrong path (a log, a device) must not fill the memory.
const configBytesMax = 1 << 20

// onOff are the settings that are on or off. In the file they may be true or false, too.
var onOff = map[string]bool{"anonymous": true, "centrifuge": true, "compression": true, "presence": true, "proxy-protocol": true}

// mayBeOff are settings that are off or something else. In the file they may be false, too.
var mayBeOff = map[string]bool{"admin": true, "hsts": true, "http-redirect": true, "listen": true, "tls-listen": true}

// onOffText is the text of a JSON value that is no string: for true and false, where a setting is on or off, one of these words.
func onOffText(key string, value []byte) string {
	if onOff[key] || mayBeOff[key] && string(value) == "false" {
		return onOffWord(string(value))
	}
	return string(value)
}

// onOffWord is the word for true and false, where a setting is on or off.
func onOffWord(text string) string {
	switch text {
	case "true":
		return "on"
	case "false":
		return "off"
	default:
		return text
	}
}

// lists are the settings that may be JSON arrays of strings; as flags their elements stand between commas.
var lists = map[string]bool{"acme-domain": true, "admin-hosts": true, "allowed-origins": true, "cluster-peers": true, "listen": true, "subprotocols": true, "tls-cert": true, "tls-key": true, "tls-listen": true, "token-public-key": true, "trusted-proxies": true}

func readConfig(name string, open func(string) (io.ReadCloser, error)) (*configFile, error) {
	f, err := open(name)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err // the caller names the file
		}
		return nil, fmt.Errorf("%w; name a file that can be read", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, configBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > configBytesMax {
		return nil, fmt.Errorf("is longer than %s, the most that a config file may be", SizeText(configBytesMax))
	}
	if text, err = plainText(text); err != nil {
		return nil, err
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, fmt.Errorf("holds a JSON %s; write an object, such as {\"loops\": 4}", kind.Value)
		}
		return nil, fmt.Errorf("is not a JSON object: %v%s", err, lineOf(text, err))
	}
	if key := repeatedKey(text); key != "" {
		return nil, fmt.Errorf("has the key %q twice; write it once", key)
	}
	file := &configFile{name: name, values: make(map[string]string, len(raw)), groups: raw["groups"]}
	delete(raw, "groups")
	known := knownSettings()
	for key, value := range raw {
		if !slices.Contains(known, key) {
			file.values[key] = "" // its value is not to be shown: a secret may have got there
			continue
		}
		switch value[0] {
		case '"':
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return nil, err
			}
			file.values[key] = s
		case '{', '[', 'n':
			var list []string
			if key == "pusher" {
				lines, ok := appLines(value)
				if !ok {
					return nil, errors.New(`key "pusher" is neither a text nor an object nor an array of them; write an array such as ["ID:KEY:SECRET", {"id": "ID", "key": "KEY", "secret": "SECRET", "client-events": "off"}]`)
				} else if lines != "" {
					file.values[key] = lines
				}
				continue
			}
			if isSecret(key) {
				if json.Unmarshal(value, &list) != nil || list == nil {
					return nil, fmt.Errorf("key %q is neither a string nor an array of strings; write one of them", key)
				} else if len(list) > 0 {
					file.values[key] = strings.Join(list, "\n")
				}
				continue
			}
			if !lists[key] {
				return nil, fmt.Errorf("key %q is %s; write a string, a number, true or false", key, value)
			} else if err := json.Unmarshal(value, &list); err != nil || list == nil {
				return nil, fmt.Errorf("key %q is %s; write a string or an array of strings", key, value)
			}
			file.values[key] = strings.Join(list, ",")
		default:
			file.values[key] = onOffText(key, value)
		}
	}
	return file, file.unknownKey(known)
}

// knownSettings are the keys that a file may have.
func knownSettings() (known []string) {
	for _, tag := range tags() {
		if name := tag.Get("name"); name != "config" {
			known = append(known, name)
		}
	}
	return known
}

// plainText is a file's text without the byte order mark that some editors put before it. What is not UTF-8 is an error: package
// json would silently replace bytes in names of files and groups.
func plainText(text []byte) ([]byte, error) {
	// In UTF-16, which Windows calls Unicode, each character of JSON is one byte and a zero.
	if utf16 := bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) ||
		len(text) > 1 && (text[0] == 0) != (text[1] == 0); utf16 {
		return nil, errors.New("is UTF-16; save it as UTF-8")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	for at, rest := 1, text; len(rest) > 0; {
		line, more, _ := bytes.Cut(rest, []byte("\n"))
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("is not UTF-8 (line %d); save it as UTF-8", at)
		}
		at, rest = at+1, more
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, errors.New(`is empty; write an object, such as {"loops": 4}, or {} for no settings`)
	}
	return text, nil
}

// repeatedKey is a key that a JSON object has twice, empty if there is none: package json would silently take the last.
func repeatedKey(object []byte) string {
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(object))
	_, _ = d.Token() // the brace; the object has been parsed without an error before
	for d.More() {
		var value json.RawMessage
		key, _ := d.Token()
		_ = d.Decode(&value)
		name, _ := key.(string)
		if seen[name] {
			return name
		}
		seen[name] = true
	}
	return ""
}

// lineOf gives the line of a syntax error; package json gives a byte offset.
func lineOf(text []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return ""
	}
	before := text[:min(int(syntax.Offset), len(text))]
	return fmt.Sprintf(" (line %d)", 1+strings.Count(string(before), "\n"))
}

// unknownKey is an error for a key that is not a setting.
func (c *configFile) unknownKey(known []string) error {
	var unknown []string
	for key := range c.values {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(known)
	first := slices.Min(unknown)
	if near := nearest(first, known, 0); near != "" {
		return fmt.Errorf("there is no setting %q; did you mean %q?", first, near)
	}
	return fmt.Errorf("there is no setting %q; the settings are %s", first, strings.Join(known, ", "))
}
