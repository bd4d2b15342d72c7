package api

import (
	"encoding/base64"
	"math"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop"
)

// call is the parameters of a command as they were said: JSON values, nil where one is missing. They are borrowed from the text of the
// command and from what reads it. Parameters that no method has are ignored.
type call struct {
	channel, channels                                     []byte
	data, b64data, tags, skipHistory, key, version        []byte
	limit, since, reverse, pattern                        []byte
	user, client, session, info, b64info                  []byte
	disconnect, whitelist, expired, expireAt, recoverFrom []byte
	before                                                []byte
}

// read takes the parameters out of a JSON object.
func (c *call) read(r *dialect.JSONReader, params []byte) *fault {
	*c = call{}
	if dialect.IsMissing(params) {
		return nil
	}
	r.Open(params)
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		if into := c.parameter(key); into != nil {
			*into = value
		}
	}
	if !r.Valid() {
		return badRequest("params must be an object")
	}
	return nil
}

// parameter is where a parameter's value goes; nil: nobody needs it.
func (c *call) parameter(key []byte) *[]byte {
	switch string(key) {
	case "channel":
		return &c.channel
	case "channels":
		return &c.channels
	case "data":
		return &c.data
	case "b64data":
		return &c.b64data
	case "tags":
		return &c.tags
	case "skip_history":
		return &c.skipHistory
	case "idempotency_key":
		return &c.key
	case "version":
		return &c.version
	case "limit":
		return &c.limit
	case "since":
		return &c.since
	case "reverse":
		return &c.reverse
	case "pattern":
		return &c.pattern
	case "user":
		return &c.user
	case "client":
		return &c.client
	case "session":
		return &c.session
	case "info":
		return &c.info
	case "b64info":
		return &c.b64info
	case "disconnect", "Disconnect": // the second is gocent's
		return &c.disconnect
	case "whitelist", "ClientWhitelist": // likewise
		return &c.whitelist
	case "expired":
		return &c.expired
	case "expire_at":
		return &c.expireAt
	case "recover_since":
		return &c.recoverFrom
	case "before":
		return &c.before
	}
	return nil
}

// Bounds of what a publish says beside its data.
const (
	tagsBytesMax = 16 << 10
	keyBytesMax  = 255
)

// said is what a publish or a broadcast says, borrowed.
func (c *call) said(r *dialect.JSONReader) (s Said, f *fault) {
	if f = c.payload(r, &s); f != nil {
		return s, f
	}
	if s.Tags, f = c.tagsLine(); f != nil {
		return s, f
	}
	key, isText := r.Text(c.key)
	unkept, isBool := dialect.Boolean(c.skipHistory)
	version, isInt := dialect.Integer(c.version, 0, dialect.OffsetMax)
	switch {
	case !isText || len(key) > keyBytesMax:
		return s, badRequest("idempotency_key must be a string of at most 255 bytes")
	case !isBool:
		return s, badRequest("skip_history must be true or false")
	case !isInt:
		return s, badRequest("version must be a number")
	case version > 0:
		return s, notHere("publications have no version")
	}
	s.Key, s.Unkept = string(key), unkept
	return s, nil
}

// payload is what members receive: the text of a JSON string, the JSON text of anything else.
func (c *call) payload(r *dialect.JSONReader, s *Said) *fault {
	if !dialect.IsMissing(c.b64data) {
		text, isText := r.Text(c.b64data)
		data, err := base64.StdEncoding.AppendDecode(nil, text)
		switch {
		case !isText || err != nil:
			return badRequest("b64data must be a string of base64")
		case !utf8.Valid(data):
			return badRequest("b64data must stand for text or JSON in UTF-8")
		}
		if len(data) > 0 {
			s.Payload, s.JSON = data, dialect.IsJSON(data)
			if from := firstByte(data); s.JSON && data[from] == '"' {
				s.Payload, _ = r.Text(trimSpace(data[from:]))
				s.JSON = false
			}
			return nil
		}
	}
	switch {
	case c.data == nil:
		return badRequest("data is missing")
	case c.data[0] == '"':
		s.Payload, _ = r.Text(c.data)
	default:
		s.Payload, s.JSON = c.data, true
	}
	return nil
}

// trimSpace is b without the space behind it that JSON allows.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// tagsLine is the tags on one line; nil: there are none. PHP writes an empty map as an empty array.
func (c *call) tagsLine() ([]byte, *fault) {
	wrong := badRequest("tags must be an object of strings, of at most 16 KiB")
	switch {
	case dialect.IsMissing(c.tags):
		return nil, nil
	case len(c.tags) > tagsBytesMax:
		return nil, wrong
	case c.tags[0] == '[':
		for range dialect.Elements(c.tags) {
			return nil, wrong
		}
		return nil, nil
	}
	var r dialect.JSONReader // the other one's texts are still needed
	r.Open(c.tags)
	n := 0
	for {
		_, value, ok := r.Next()
		if !ok {
			break
		}
		if n++; value[0] != '"' {
			return nil, wrong
		}
	}
	switch {
	case !r.Valid():
		return nil, wrong
	case n == 0:
		return nil, nil
	}
	return dialect.AppendLine(nil, c.tags), nil
}

// group is the name of the channel. That it is a good one the group's home says.
func (c *call) group(r *dialect.JSONReader) (string, *fault) {
	name, isText := r.Text(c.channel)
	if !isText || len(name) == 0 {
		return "", badRequest("channel must be a string that is not empty")
	}
	return string(name), nil
}

// position is the one that the value of since stands for; has: there is one.
func (c *call) position(r *dialect.JSONReader) (p Position, has bool, f *fault) {
	if dialect.IsMissing(c.since) {
		return p, false, nil
	}
	var offset, epoch []byte
	r.Open(c.since)
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		switch string(key) {
		case "offset":
			offset = value
		case "epoch":
			epoch = value
		}
	}
	n, isInt := dialect.Integer(offset, 0, dialect.OffsetMax)
	text, isText := r.Text(epoch)
	if !r.Valid() || !isInt || !isText {
		return p, false, badRequest(`since must be an object such as {"offset":7,"epoch":"…"}`)
	}
	return Position{Offset: uint64(n), Epoch: loop.Epoch(dialect.Epoch(text))}, true, nil
}

// ask is what a history asks for.
func (c *call) ask(r *dialect.JSONReader) (a Ask, f *fault) {
	limit, isInt := dialect.Integer(c.limit, math.MinInt32, math.MaxInt32)
	reverse, isBool := dialect.Boolean(c.reverse)
	switch {
	case !isInt:
		return a, badRequest("limit must be a number")
	case !isBool:
		return a, badRequest("reverse must be true or false")
	}
	a = Ask{Limit: int(limit), Reverse: reverse}
	a.Since, a.HasSince, f = c.position(r)
	return a, f
}
