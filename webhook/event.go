package webhook

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/door"
)

// what an event is.
type what uint8

const (
	occupied what = iota
	vacated
	memberAdded
	memberRemoved
	clientEvent
	cacheMiss
)

// Names are those of all events, as they are told and configured.
var names = [...]string{occupied: "channel_occupied", vacated: "channel_vacated", memberAdded: "member_added", memberRemoved: "member_removed", clientEvent: "client_event", cacheMiss: "cache_miss"}

// ofObserved is what an observation is told as.
var ofObserved = [...]what{loop.Occupied: occupied, loop.Vacated: vacated, loop.UserCame: memberAdded, loop.UserWent: memberRemoved, loop.CacheMiss: cacheMiss, loop.ClientSaid: clientEvent}

// goes says whether an event is held back for whom it tells of may come back, and comes whether it takes such a one back.
func (w what) goes() bool  { return w == vacated || w == memberRemoved }
func (w what) comes() bool { return w == occupied || w == memberAdded }

// wishes is a set of what an app wants to be told.
type wishes uint8

func (s wishes) has(w what) bool { return s>>w&1 != 0 }

// wishesOf are those of an app.
func wishesOf(app *door.App) (s wishes) {
	for w, name := range names {
		if app.WantsEvent(name) {
			s |= 1 << w
		}
	}
	return s
}

// held says whether an event is to be known, whether or not it is told: who goes is told only if it does not come back.
func (s wishes) held(w what) bool {
	switch {
	case s.has(w):
		return true
	case w.goes():
		return s.has(w - 1)
	case w.comes():
		return s.has(w + 1)
	}
	return false
}

// event is one that is told.
type event struct {
	what    what
	to      *target
	channel string
	user    string // member_added, member_removed; of a client event that of its sender, in a presence channel

	// Of a client event.
	tags   []byte // has its name
	data   string
	socket string

	bytes int32     // that are booked for it
	since time.Time // its turn has come then
}

// eventBytes is what an event takes beside its texts, also while it is held back.
const eventBytes = 256

// size is how many bytes are booked for it.
func (e *event) size() int {
	return eventBytes + len(e.channel) + len(e.user) + len(e.tags) + len(e.data) + len(e.socket)
}

// told is an event in a request.
type told struct {
	Name     string  `json:"name"`
	Channel  string  `json:"channel"`
	User     string  `json:"user_id,omitempty"`
	Event    string  `json:"event,omitempty"`
	Data     *string `json:"data,omitempty"`
	SocketID string  `json:"socket_id,omitempty"`
}

// body is a request.
type body struct {
	Time   int64  `json:"time_ms"`
	Events []told `json:"events"`
}

// bodyOf is the text of a request with events, at a time in Unix milliseconds.
func bodyOf(events []event, now int64) []byte {
	b := body{now, make([]told, len(events))}
	for i := range events {
		e := &events[i]
		b.Events[i] = told{Name: names[e.what], Channel: e.channel, User: e.user, SocketID: e.socket}
		if e.what == clientEvent {
			b.Events[i].Event, b.Events[i].Data = nameIn(e.tags), &e.data
		}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(b) // no text fails
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}

// nameIn is the name of a client event in its tags.
func nameIn(tags []byte) string {
	var t struct{ Event string }
	_ = json.Unmarshal(tags, &t) // the server has made them
	return t.Event
}

// said completes an event with what a client has said.
func (e *event) said(m *loop.Message, socketID func(client uint64) string) {
	e.tags, e.data, e.socket = m.More.Tags, string(m.Payload()), socketID(m.More.Except)
	if who := m.Who(); who != nil && dialect.ChannelOf(e.channel).Presence {
		e.user = strings.Clone(who.User())
	}
}
