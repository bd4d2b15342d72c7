package loop

import (
	"encoding/json"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/shrink"
)

// This file is the client events of the Pusher protocol: what a member of a channel says to its other members. They are messages that are
// never kept, that their sender does not hear, and of which a client may say some in a second.

// eventRates is by when all client events that clients have said would be due, had they come at an even pace, in nanoseconds of env.now, as
// in rate. Few clients say any, so it is no array of all.
//
// Owner: the loop.
type eventRates struct{ due shrink.Map[*client, int64] }

// take counts an event of a client that may say so many in a second; false: it may not say this one.
func (r *eventRates) take(c *client, now int64, perSecond int) bool {
	due := max(r.due.Get(c), now) + burstNanos/int64(perSecond)
	if due-now > burstNanos {
		return false
	}
	r.due.Put(c, due)
	return true
}

// forget is for a client that is buried.
func (r *eventRates) forget(c *client) {
	if r.due.Len() > 0 {
		r.due.Delete(c)
	}
}

// sendEvent says a client event to the other members of a channel, whose group the command names.
func (s *shard) sendEvent(c *client, app *door.App, cmd *dialect.Command) dialect.ErrorCode {
	g := s.groups.Get(string(cmd.Group))
	switch {
	case g == nil || !c.joins(g):
		s.count.CommandErrors.Add(1)
		return dialect.ErrNotMember
	case app.ClientEventsPerSecond == 0:
		count(&s.count.RefusedBy, refusedForbidden)
		return dialect.ErrForbidden
	case len(cmd.Message) > app.EventBytesMax:
		s.count.CommandErrors.Add(1)
		return dialect.ErrTooBig
	case !s.rates.events.take(c, s.env.now(), app.ClientEventsPerSecond):
		count(&s.count.RefusedBy, refusedRate)
		return dialect.ErrRateLimited
	}
	return s.publish(c, cmd)
}

// asEvent makes a message that c is about to say a client event of a name.
func (s *shard) asEvent(c *client, m *message, event []byte) {
	if m.More == nil {
		m.More = &dialect.More{}
	}
	name, _ := json.Marshal(string(event)) // no string fails
	m.More.Tags = append(append([]byte(`{"event":`), name...), '}')
	m.More.Unkept, m.More.ClientEvent = true, true
	m.More.Except, m.More.ExceptName = c.Number(), s.hub.names.Of(c.Number())
}
