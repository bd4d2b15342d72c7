package cluster

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"ringcast/dialect"
	"ringcast/loop"
)

// This file is how a message lies in the log, and travels between nodes: its payload is the data, and what goes with it are headers. Whatever may
// contain a line break is in base64; JSON is on one line already.
//
//	Nats-Msg-Id  n:BOOT-N, or k:HASH of what has a key, by which the log knows a repeat
//	Rc-T         BOOT-N where the Msg-Id does not say it: the process that has sent it, and which of its messages in this partition it is
//	Rc-F         letters: j JSON, u unkept, f forgets, e a client event of Pusher's, w has a user (whose name may be empty), n whose name was a number
//	Rc-K         the key
//	Rc-C         the sending client's name
//	Rc-X         the name of the client that is not sent it
//	Rc-U Rc-I Rc-J   the user: its name, what is said of it, what is said of it in this group
//	Rc-G         tags
const (
	headerID        = "Nats-Msg-Id"
	headerSender    = "Rc-T"
	headerFlags     = "Rc-F"
	headerKey       = "Rc-K"
	headerClient    = "Rc-C"
	headerExcept    = "Rc-X"
	headerUser      = "Rc-U"
	headerInfo      = "Rc-I"
	headerGroupInfo = "Rc-J"
	headerTags      = "Rc-G"
	headerRollup    = "Nats-Rollup"
	headerOffset    = "Nats-Sequence"
	headerPrev      = "Nats-Last-Sequence"
	headerPending   = "Nats-Num-Pending"
	headerSubject   = "Nats-Subject"
	headerStatus    = "Status"
	headerTime      = "Nats-Time-Stamp"
)

// groupToken is a group's name as a token of a subject. It is one to one, and never the marker's.
func groupToken(group string) string {
	for i := range len(group) {
		if c := group[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return "b" + base64Text([]byte(group))
		}
	}
	return "n" + group
}

// marker is the token of the message that says a partition's epoch.
const marker = "!"

// tokenGroup is the group of a token, the last one of a subject. is is false if no group has it.
func tokenGroup(subject string) (group string, is bool) {
	token := subject[strings.LastIndexByte(subject, '.')+1:]
	if len(token) < 2 {
		return "", false
	}
	switch token[0] {
	case 'n':
		return token[1:], true
	case 'b':
		name, err := base64.RawURLEncoding.DecodeString(token[1:])
		return string(name), err == nil
	}
	return "", false
}

// keyID is by what the log knows the repeat of a publish with a key. Groups share a stream, so the group is part of it.
func keyID(group, key string) string {
	hash := sha256.New()
	hash.Write([]byte(group))
	hash.Write([]byte{0})
	hash.Write([]byte(key))
	return "k:" + base64Text(hash.Sum(nil)[:16])
}

// said is what a message in the log is.
type said struct {
	ordered
	boot   string // of the process that has sent it
	number uint64 // which of its messages in this partition it is; ascends
	id     string // by which the log knows a repeat
}

// names are those of clients that go with a message; empty: none.
type names struct {
	client string // that has sent it
	except string // that is not sent it
}

// encode is a message as the log has it.
func encode(subject string, it *item, boot string, of names) *nats.Msg {
	m := &nats.Msg{Subject: subject, Header: make(nats.Header, 4)}
	said := it.offer.Message
	sender := boot + "-" + strconv.FormatUint(it.number, 10)
	if it.id != "" {
		m.Header[headerID] = []string{it.id}
		m.Header[headerSender] = []string{sender}
		m.Header[headerKey] = []string{base64Text([]byte(it.offer.Key))}
	} else {
		m.Header[headerID] = []string{"n:" + sender}
	}
	if it.offer.Forgets {
		m.Header[headerFlags] = []string{"f"}
		m.Header[headerRollup] = []string{"sub"}
		return m
	}
	m.Data = said.Payload()
	flags := ""
	if said.JSON {
		flags += "j"
	}
	if of.client != "" {
		m.Header[headerClient] = []string{of.client}
	}
	if of.except != "" {
		m.Header[headerExcept] = []string{of.except}
	}
	if more := said.More; more != nil {
		if more.Unkept {
			flags += "u"
		}
		if more.ClientEvent {
			flags += "e"
		}
		if more.Tags != nil {
			m.Header[headerTags] = []string{string(more.Tags)}
		}
		if who := more.Who; who != nil {
			flags += "w"
			if who.NumberID() {
				flags += "n"
			}
			if who.User() != "" {
				m.Header[headerUser] = []string{base64Text([]byte(who.User()))}
			}
			if who.Info() != nil {
				m.Header[headerInfo] = []string{string(who.Info())}
			}
			if who.GroupInfo() != nil {
				m.Header[headerGroupInfo] = []string{string(who.GroupInfo())}
			}
		}
	}
	if flags != "" {
		m.Header[headerFlags] = []string{flags}
	}
	return m
}

// encode is encode for what this node sends to the log, or to other nodes.
func (p *partition) encode(subject string, it *item) *nats.Msg {
	var of names
	said := it.offer.Message
	if client, named := said.Sender(); named {
		of.client = p.c.hub.ClientName(client)
	}
	if more := said.More; more != nil {
		if of.except = more.ExceptName; of.except == "" && more.Except != 0 {
			of.except = p.c.hub.ClientName(more.Except)
		}
	}
	return encode(subject, it, p.c.boot, of)
}

var errStrange = errors.New("no message of a ringcast")

// decode is decode, for this node: the client that is not sent the message may be one of its own.
func (c *Cluster) decode(subject string, m *nats.Msg) (s said, err error) {
	if s, err = decode(subject, m); err != nil {
		return s, err
	}
	if more := s.Message.More; more != nil && more.ExceptName != "" {
		if client, is := c.hub.ClientNumber(more.ExceptName); is {
			more.Except = client
		}
	}
	return s, nil
}

// decode is the reverse of encode. subject is one that ends with the group's token; offsets are not read.
func decode(subject string, m *nats.Msg) (s said, err error) {
	group, is := tokenGroup(subject)
	if !is {
		return s, fmt.Errorf("%w: subject %q", errStrange, subject)
	}
	s.id = first(m.Header, headerID)
	sender := first(m.Header, headerSender)
	if sender == "" {
		sender, _ = strings.CutPrefix(s.id, "n:")
	}
	at := strings.LastIndexByte(sender, '-')
	if at < 0 {
		return s, fmt.Errorf("%w: it does not say who has sent it", errStrange)
	}
	s.boot = sender[:at]
	if s.number, err = strconv.ParseUint(sender[at+1:], 10, 64); err != nil {
		return s, fmt.Errorf("%w: %w", errStrange, err)
	}
	if s.Key, err = plainText(m.Header, headerKey); err != nil {
		return s, err
	}
	flags := first(m.Header, headerFlags)
	s.Forgets = strings.Contains(flags, "f")
	var more dialect.More
	more.Unkept, more.ClientEvent = strings.Contains(flags, "u"), strings.Contains(flags, "e")
	more.Tags = raw(m.Header, headerTags)
	if strings.Contains(flags, "w") {
		who := dialect.WhoIs{NumberID: strings.Contains(flags, "n"), Info: raw(m.Header, headerInfo), GroupInfo: raw(m.Header, headerGroupInfo)}
		if who.User, err = plainText(m.Header, headerUser); err != nil {
			return s, err
		}
		more.Who = who.Who()
	}
	more.Client, more.ExceptName = first(m.Header, headerClient), first(m.Header, headerExcept)
	with := &more
	if more.Client == "" && more.ExceptName == "" && !more.Unkept && !more.ClientEvent && more.Tags == nil && more.Who == nil {
		with = nil
	}
	s.Message = loop.NewOrderedMessage([]byte(group), m.Data, strings.Contains(flags, "j"), with)
	return s, nil
}

// headerMax is how many bytes of headers the log takes, with some room for those that it adds.
const headerMax = 64<<10 - 512

// headerBytes is how many bytes headers have.
func headerBytes(h nats.Header) (bytes int) {
	for name, values := range h {
		for _, value := range values {
			bytes += len(name) + len(value) + len(": \r\n")
		}
	}
	return bytes
}

// first is the value of a header; empty: there is none.
func first(h nats.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// raw is the value of a header as bytes; nil: there is none.
func raw(h nats.Header, name string) []byte {
	if text := first(h, name); text != "" {
		return []byte(text)
	}
	return nil
}

// plainText is what a header has in base64.
func plainText(h nats.Header, name string) (string, error) {
	p, err := base64.RawURLEncoding.DecodeString(first(h, name))
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", errStrange, name, err)
	}
	return string(p), nil
}

// number is a header that is a number; 0: there is none.
func number(h nats.Header, name string) uint64 {
	n, _ := strconv.ParseUint(first(h, name), 10, 64)
	return n
}
