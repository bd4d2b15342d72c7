package bus

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"ringcast/loop"
)

// message is the body of a frame: what one side of a Channel link sends to the other. Its slices are the body's memory.
type message struct {
	verb     string
	said     []byte // what verb is made of; it may be none
	channels []name // of a client's message
	channel  name   // of a server's message
	data     value  // whose raw is nil where there is none

	slot    int  // of data, as references count
	refs    bool // data has references
	customs bool // data has objects with a serialization of their own (C:)
}

// The verbs of a client, and then those of a server.
const (
	verbSubscribe   = "subscribe"
	verbUnsubscribe = "unsubscribe"
	verbPublish     = "publish"
	verbPublishLoop = "publishLoop"
	verbWatch       = "watch"
	verbUnwatch     = "unwatch"
	verbEnqueue     = "enqueue"
	verbReserve     = "reserve"

	verbEvent = "event"
	verbQueue = "queue"
)

var verbs = map[string]string{
	verbSubscribe: verbSubscribe, verbUnsubscribe: verbUnsubscribe, verbPublish: verbPublish, verbPublishLoop: verbPublishLoop,
	verbWatch: verbWatch, verbUnwatch: verbUnwatch, verbEnqueue: verbEnqueue, verbReserve: verbReserve,
	verbEvent: verbEvent, verbQueue: verbQueue,
}

// name names a channel or a queue. In PHP it is an array key, so 123 and "123" are one name; raw keeps which of them was
// sent, because it is sent on in the same form.
type name struct {
	key []byte // the same for the same name
	raw []byte
}

// nameBytesMax bounds a name: the subscriptions of a client are bounded in number, so this bounds their memory.
const nameBytesMax = 1024

func stringName(text string) name { return name{[]byte(text), appendString(nil, []byte(text))} }

func nameOf(v value) (name, error) {
	switch v.kind {
	case kindString:
		if len(v.text) > nameBytesMax {
			return name{}, badFramef("a channel's name of %d bytes, more than the %d allowed", len(v.text), nameBytesMax)
		}
		return name{v.text, v.raw}, nil
	case kindInt:
		return name{strconv.AppendInt(nil, v.num, 10), v.raw}, nil
	default:
		return name{}, badFrame{"a channel's name that is neither a string nor an integer"}
	}
}

// readMessage reads a body. Unknown fields are skipped, as in PHP; what serialize() cannot have written is an error, and so
// is an object or a reference anywhere but in data.
func readMessage(body []byte, channelsMax int) (m message, err error) {
	s := scanner{p: body}
	entries, err := s.array()
	if err != nil {
		return m, err
	}
	for range entries {
		key, err := s.key()
		if err != nil {
			return m, err
		}
		field := string(key.text) // an integer key has none
		if field == "data" {
			s.lowest, m.slot = s.slot+1, s.slot+1
		}
		v, err := s.value()
		s.lowest = 0
		if err != nil {
			return m, err
		}
		switch field {
		case "type":
			m.verb, m.said = verbs[string(v.text)], v.text
		case "channel":
			m.channel, err = nameOf(v)
		case "channels":
			m.channels, err = namesOf(v, channelsMax)
		case "data":
			m.data, m.refs, m.customs = v, s.refs, s.customs
		}
		if err != nil {
			return m, err
		}
	}
	if err := s.closing(); err != nil {
		return m, err
	}
	if s.at != len(body) {
		return m, errSyntax
	}
	return m, nil
}

func namesOf(v value, most int) (names []name, err error) {
	if v.kind != kindArray {
		return nil, badFrame{"channels that are not an array"}
	}
	if v.num > int64(most) {
		return nil, badFramef("%d channels in one frame, more than the %d allowed", v.num, most)
	}
	names = make([]name, 0, min(v.num, 16)) // not nil: an empty list is not the same as no list
	v.each(func(_, of value) bool {
		var n name
		n, err = nameOf(of)
		names = append(names, n)
		return err == nil
	})
	return names, err
}

// serverSlot is data's slot in a server's message: after the array, the type and the channel.
const serverSlot = 4

// carried is data as it is written into an event, in the body's memory if nothing has to be changed. References name their
// target by its place in the whole text, so their numbers change with the place of data; those inside objects with a
// serialization of their own cannot be found, and ok is false if there might be any.
func (m *message) carried() (data []byte, ok bool) {
	if !m.refs || m.slot == serverSlot {
		return m.data.raw, true
	}
	if m.customs {
		return nil, false
	}
	return renumber(m.data.raw, serverSlot-m.slot), true
}

// eventFrame is a server's message: verb is verbEvent or verbQueue.
func eventFrame(verb string, channel name, data []byte) []byte {
	f := newFrame(len(`a:3:{s:4:"type";s:5:"event";s:7:"channel";s:4:"data";}`) + len(channel.raw) + len(data))
	f = append(f, `a:3:{s:4:"type";s:5:"`...)
	f = append(f, verb...)
	f = append(f, `";s:7:"channel";`...)
	f = append(f, channel.raw...)
	f = append(f, `s:4:"data";`...)
	f = append(f, data...)
	return sealFrame(append(f, '}'))
}

// subscribeFrame and publishFrame are a client's messages.
func subscribeFrame(channel name) []byte {
	f := newFrame(64 + len(channel.raw))
	f = append(f, `a:2:{s:4:"type";s:9:"subscribe";s:8:"channels";a:1:{i:0;`...)
	f = append(f, channel.raw...)
	return sealFrame(append(f, "}}"...))
}

func publishFrame(channel name, data []byte) []byte {
	f := newFrame(80 + len(channel.raw) + len(data))
	f = append(f, `a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:1:{i:0;`...)
	f = append(f, channel.raw...)
	f = append(f, `}s:4:"data";`...)
	f = append(f, data...)
	return sealFrame(append(f, '}'))
}

// groupMessage is what an event of the bridge's channel is about.
type groupMessage struct {
	group string
	text  []byte
	mark  string // of the ringcast that published it, empty where none did
}

// markKey names the entry by which a ringcast that is a client of a Channel server recognizes its own events. PHP ignores
// it.
const markKey = "ringcast"

// readGroupMessage looks for {group_id, message} in data. A group is a string or an integer, which is the same group; a
// message that is not a string is published as its JSON text, as a browser's would be. Anything else is not for groups: wrong
// says why, and is empty where data speaks of none.
func readGroupMessage(data value) (g groupMessage, ok bool, wrong string) {
	if data.kind != kindArray {
		return g, false, ""
	}
	named, spoken := false, false
	hasGroup, hasMessage := false, false
	data.each(func(key, of value) bool {
		switch string(key.text) {
		case "group_id":
			hasGroup = true
			switch of.kind {
			case kindString:
				g.group, named = string(of.text), true
			case kindInt:
				g.group, named = strconv.FormatInt(of.num, 10), true
			default:
				named = false
			}
		case "message":
			hasMessage = true
			g.text, spoken = of.text, true
			if of.kind != kindString {
				g.text, spoken = jsonText(of)
			}
		case markKey:
			if of.kind == kindString {
				g.mark = string(of.text)
			}
		}
		return true
	})
	switch {
	case named && spoken || !hasGroup && !hasMessage:
	case !hasGroup:
		wrong = "it has no group_id"
	case !hasMessage:
		wrong = "it has no message"
	case !named:
		wrong = "its group_id is neither a string nor an integer"
	default:
		wrong = "its message has no JSON text"
	}
	return g, named && spoken, wrong
}

// whyNoGroup is why a group does not exist, or cannot get a message.
func whyNoGroup(err error, text []byte) string {
	switch {
	case errors.Is(err, loop.ErrBadGroup):
		return "its group_id is empty, longer than --group-name-max or not UTF-8"
	case !utf8.Valid(text):
		return "its message is not UTF-8"
	default:
		return "its message is larger than --message-max"
	}
}

// groupData is a group's message as PHP's side expects it. The group is always a string, as in the messages of
// browsers, {"group_id":"123"}, from which the workers of the original take it; used as an array's key PHP turns it into an
// integer by itself. mark is left out where it is empty.
func groupData(group string, text []byte, mark string) []byte {
	data := make([]byte, 0, 96+len(group)+len(text)+len(mark))
	if mark == "" {
		data = append(data, "a:2:{"...)
	} else {
		data = append(data, "a:3:{"...)
	}
	data = append(data, `s:8:"group_id";`...)
	data = appendString(data, []byte(group))
	data = append(data, `s:7:"message";`...)
	data = appendString(data, text)
	if mark != "" {
		data = appendString(data, []byte(markKey))
		data = appendString(data, []byte(mark))
	}
	return append(data, '}')
}
