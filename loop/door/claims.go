package door

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// claims reads what a token says whose signature is good. now is in Unix seconds.
func (v *Verifier) claims(payload []byte, now int64) (*Token, error) {
	said, ok := readObject(payload)
	if !ok {
		return nil, refusal(FaultMalformed, "its claims are not a JSON object with each name once")
	}
	c := claimReader{said: said}
	t := &Token{
		User:    c.text("sub", UserBytesMax),
		Group:   c.group("channel"),
		Join:    c.patterns("join"),
		Publish: c.patterns("publish"),
	}
	t.Info = c.json(said, "info", "info")
	t.Groups, t.Data = c.groups()
	t.IssuedAt, _ = c.time("iat")
	notBefore, _ := c.time("nbf")
	expires, expiring := c.time("exp")
	t.Expires, t.Ends = expires, expires
	if ends, own := c.time("expire_at"); own {
		t.Ends = ends // 0: never, for Centrifugo too
	}
	switch {
	case c.wrong != "":
		return nil, refusal(FaultClaim, "its claim "+c.wrong+" is wrong")
	case t.IssuedAt > now+clockSkew:
		return nil, refusal(FaultNotYetValid, "it was issued in the future (iat)")
	case notBefore > now+clockSkew:
		return nil, refusal(FaultNotYetValid, "it is not valid yet (nbf)")
	case v.issuer != "" && !c.is("iss", v.issuer):
		return nil, refusal(FaultIssuer, "it has another issuer (iss) than --token-issuer")
	case v.audience != "" && !c.names("aud", v.audience):
		return nil, refusal(FaultAudience, "it is for another audience (aud) than --token-audience")
	case expiring && expires <= now, t.Ends != 0 && t.Ends <= now:
		return nil, ErrTokenExpired
	}
	return t, nil
}

// claimReader reads claims one after the other, and remembers the first that is not what it should be. What is there and is of the
// wrong kind is wrong and never left out: without its exp a token would be good for ever. Where a claim only allows something, null
// is nothing, as backends write an empty list so.
//
// Owner: who has made it.
type claimReader struct {
	said  map[string]json.RawMessage
	wrong string // a name of ours, and not text of the token; empty: all are right so far
}

func (c *claimReader) isWrong(name string) {
	if c.wrong == "" {
		c.wrong = name
	}
}

// text is a string of 1 to most bytes, or none of no name; empty where there is none.
func (c *claimReader) text(name string, most int) string {
	raw, is := c.said[name]
	if !is {
		return ""
	}
	text, ok := readString(raw)
	if !ok || len(text) > most {
		c.isWrong(name)
	}
	return text
}

// group is the name of a group. An empty one is wrong: whoever has meant a group would have made a token for a connection.
func (c *claimReader) group(name string) string {
	text := c.text(name, groupNameMax)
	if _, is := c.said[name]; is && text == "" {
		c.isWrong(name)
	}
	return text
}

// timesMax is the last second of the year 9999. It is less than what a clock in milliseconds says.
const timesMax = 253402300799

// time is a moment in Unix seconds (RFC 7519 §2, NumericDate), and whether it is named. Fractions of a second are cut off.
func (c *claimReader) time(name string) (seconds int64, named bool) {
	raw, named := c.said[name]
	if !named {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64) // of texts that are JSON it takes numbers alone
	if err != nil || !(f >= 0 && f <= timesMax) {
		c.isWrong(name)
		return 0, true
	}
	if seconds = int64(f); seconds == 0 && f > 0 {
		seconds = 1 // 0 would be no moment
	}
	return seconds, true
}

// patterns is a list of patterns of groups' names.
func (c *claimReader) patterns(name string) (all []string) {
	for i, raw := range c.list(c.said[name], name) {
		pattern, ok := readString(raw)
		if !ok || pattern == "" || len(pattern) > PatternBytesMax || i >= patternsMax {
			c.isWrong(name)
			return nil
		}
		all = append(all, pattern)
	}
	return all
}

// groups is what channels and subs allow, and what subs has for the bearer.
func (c *claimReader) groups() (groups, data map[string][]byte) {
	groups = map[string][]byte{}
	for _, raw := range c.list(c.said["channels"], "channels") {
		name, ok := readString(raw)
		if !ok || !isGroup(name) {
			c.isWrong("channels")
			return nil, nil
		}
		groups[name] = nil
	}
	if raw := c.said["subs"]; raw != nil && !isNull(raw) {
		subs, ok := readMembers(raw)
		if !ok {
			c.isWrong("subs")
		}
		for name, raw := range subs {
			sub, ok := readMembers(raw)
			if !ok || !isGroup(name) {
				c.isWrong("subs")
				return nil, nil
			}
			groups[name] = c.json(sub, "info", "subs")
			if own := c.json(sub, "data", "subs"); own != nil {
				if data == nil {
					data = map[string][]byte{}
				}
				data[name] = own
			}
		}
	}
	if len(groups) == 0 {
		return nil, nil
	}
	return groups, data
}

func isGroup(name string) bool { return name != "" && len(name) <= groupNameMax }

// json is the JSON that an object has under a name, on one line; nil: nothing. b64info goes before info, as it does for Centrifugo.
func (c *claimReader) json(object map[string]json.RawMessage, name, claim string) []byte {
	value := object[name]
	if raw, is := object["b64"+name]; is && !isNull(raw) {
		text, ok := readString(raw)
		b, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || !utf8.Valid(b) {
			c.isWrong(claim)
			return nil
		}
		if text != "" {
			value = b
		}
	}
	if value == nil || isNull(value) {
		return nil
	}
	var line bytes.Buffer
	if err := json.Compact(&line, value); err != nil || line.Len() > infoBytesMax {
		c.isWrong(claim)
		return nil
	}
	return bytes.Clone(line.Bytes())
}

// list is the elements of an array; nil where there is none.
func (c *claimReader) list(raw json.RawMessage, claim string) (elements []json.RawMessage) {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &elements); err != nil {
		c.isWrong(claim)
	}
	return elements
}

// is says whether a claim is a text.
func (c *claimReader) is(name, want string) bool {
	text, ok := readString(c.said[name])
	return ok && text == want
}

// names says whether a claim is a text, or a list of texts that has it.
func (c *claimReader) names(name, want string) bool {
	if c.is(name, want) {
		return true
	}
	var elements []string
	return json.Unmarshal(c.said[name], &elements) == nil && slices.Contains(elements, want)
}

func isNull(raw json.RawMessage) bool { return string(bytes.TrimSpace(raw)) == "null" }

// readObject reads a JSON object in UTF-8; false: it is none, or has a name twice. Readers differ in which of two they take, and
// package json, into a struct, takes names in capitals too.
func readObject(text []byte) (members map[string]json.RawMessage, ok bool) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, false
	}
	members = map[string]json.RawMessage{}
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		var value json.RawMessage
		if err != nil || !isName || d.Decode(&value) != nil {
			return nil, false
		}
		if _, twice := members[name]; twice || strings.ContainsRune(name, utf8.RuneError) {
			return nil, false
		}
		members[name] = value
	}
	return members, true
}

// readMembers is readObject for a part of what is signed; an empty list is an empty object there, as PHP writes it so.
func readMembers(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	if inner, is := bytes.CutPrefix(bytes.TrimSpace(raw), []byte("[")); is && string(bytes.TrimSpace(inner)) == "]" {
		return nil, true
	}
	return readObject(raw)
}

// readString reads a JSON string; false: it is none, or has half a character, for which package json has U+FFFD: two names would be one.
func readString(raw json.RawMessage) (text string, ok bool) {
	if raw == nil || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return text, !strings.ContainsRune(text, utf8.RuneError)
}
