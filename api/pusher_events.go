package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/door"
)

// This file publishes. One request is one event for up to 100 channels, or up to 10 events for a channel each: either way, deliveries.

// delivery is an event on its way to one channel.
type delivery struct {
	channel string
	said    Said
	info    pusherInfo
	pending Pending
	fault   *pusherFault // why it was not sent, or that this is not known; nil: it was
}

// pusherInfo is what of a channel is asked for.
type pusherInfo struct{ subscriptions, users, cache bool }

func (i pusherInfo) any() bool { return i.subscriptions || i.users || i.cache }

// pusherInfoOf reads a list with commas. What else stands there is passed over, for other servers know more.
func pusherInfoOf(list string) (i pusherInfo) {
	for attribute := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(attribute) {
		case "subscription_count":
			i.subscriptions = true
		case "user_count":
			i.users = true
		case "cache":
			i.cache = true
		}
	}
	return i
}

// runEvents publishes one event to one or more channels.
func runEvents(ctx context.Context, x *pusherExchange, _ string) *pusherFault {
	e, f := x.event(x.in)
	if f != nil {
		return f
	}
	channels, f := x.channels(&e)
	if f != nil {
		return f
	}
	all := make([]delivery, len(channels))
	for i, channel := range channels {
		all[i] = delivery{channel: channel, said: e.said, info: e.info}
	}
	x.deliver(ctx, all)
	if f := refusals(all, func(i int) string { return string(dialect.AppendString(nil, []byte(all[i].channel))) }); f != nil {
		return f
	}
	if !e.info.any() {
		x.out = append(x.out, `{}`...)
		return nil
	}
	x.out = append(x.out, `{"channels":{`...)
	for i, size := range x.sizes(ctx, all) {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = dialect.AppendString(x.out, []byte(all[i].channel))
		x.out = append(x.out, ':', '{')
		x.out = append(size.append(x.out, e.info, all[i].channel), '}')
	}
	x.out = append(x.out, `}}`...)
	return nil
}

// runBatchEvents publishes events to a channel each, in their order.
func runBatchEvents(ctx context.Context, x *pusherExchange, _ string) *pusherFault {
	batch, f := x.batch()
	if f != nil {
		return f
	}
	all := make([]delivery, 0, door.AppBatchMax)
	for text := range dialect.Elements(batch) {
		n := len(all) + 1
		if n > door.AppBatchMax {
			return pusherBad(http.StatusBadRequest, fmt.Sprintf("a batch has %d events at most", door.AppBatchMax))
		}
		e, f := x.event(text)
		var channel string
		if f == nil {
			channel, f = x.channel(e.channel)
		}
		if f != nil {
			return pusherBad(f.status, fmt.Sprintf("event %d of the batch: %s", n, f.why))
		}
		all = append(all, delivery{channel: channel, said: e.said, info: e.info})
	}
	x.deliver(ctx, all)
	if f := refusals(all, func(i int) string { return strconv.Itoa(i + 1) }); f != nil {
		return f
	}
	if !slices.ContainsFunc(all, func(d delivery) bool { return d.info.any() }) {
		x.out = append(x.out, `{}`...)
		return nil
	}
	x.out = append(x.out, `{"batch":[`...)
	for i, size := range x.sizes(ctx, all) {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = append(x.out, '{')
		x.out = append(size.append(x.out, all[i].info, all[i].channel), '}')
	}
	x.out = append(x.out, `]}`...)
	return nil
}

// batch is the array of a batch's events.
func (x *pusherExchange) batch() (events []byte, f *pusherFault) {
	x.reader.Open(x.in)
	for {
		key, value, ok := x.reader.Next()
		if !ok {
			break
		}
		if string(key) == "batch" {
			events = value
		}
	}
	if !x.reader.Valid() || len(events) == 0 || events[0] != '[' {
		return nil, pusherBad(http.StatusBadRequest, `the body must be a JSON object with an array "batch"`)
	}
	return events, nil
}

// event is one that a backend names, as it was said: JSON values where they are not read yet.
type event struct {
	channel, channelList []byte
	said                 Said
	info                 pusherInfo
}

// event reads a JSON object. What it says is borrowed from the text, and from the reader.
func (x *pusherExchange) event(text []byte) (e event, f *pusherFault) {
	var name, data, socketID, info []byte
	r := &x.reader
	r.Open(text)
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		switch string(key) {
		case "name":
			name = value
		case "data":
			data = value
		case "socket_id":
			socketID = value
		case "info":
			info = value
		case "channel":
			e.channel = value
		case "channels":
			e.channelList = value
		}
	}
	if !r.Valid() {
		return e, pusherBad(http.StatusBadRequest, "an event must be one JSON object")
	}
	if e.said.Tags, f = x.eventTags(name); f != nil {
		return e, f
	}
	if f = x.payload(data, &e.said); f != nil {
		return e, f
	}
	socket, isText := r.Text(socketID)
	list, alsoText := r.Text(info)
	if !isText || !alsoText {
		return e, pusherBad(http.StatusBadRequest, "socket_id and info must be strings")
	}
	if len(socket) > 0 {
		if e.said.Except, isText = dialect.SocketName(string(socket)); !isText {
			return e, pusherBad(http.StatusBadRequest, "socket_id must be two numbers with a point between them, such as 1234.5678")
		}
	}
	e.info = pusherInfoOf(string(list))
	return e, nil
}

// eventTags is {"event":"…"}, as which the name of an event goes with it.
func (x *pusherExchange) eventTags(value []byte) ([]byte, *pusherFault) {
	name, isText := x.reader.Text(value)
	switch {
	case !isText || len(name) == 0 || utf8.RuneCount(name) > door.AppNameBytesMax:
		return nil, pusherBad(http.StatusBadRequest, fmt.Sprintf("name must be a string of 1 to %d characters, the event's", door.AppNameBytesMax))
	case strings.HasPrefix(string(name), "pusher:"), strings.HasPrefix(string(name), "pusher_internal:"):
		return nil, pusherBad(http.StatusBadRequest, "an event whose name begins with pusher: or pusher_internal: is the server's; name it otherwise")
	}
	return append(dialect.AppendString([]byte(`{"event":`), name), '}'), nil
}

// payload is what members hear: the text of a string, which is JSON to other protocols if it is that of an object or an array.
func (x *pusherExchange) payload(value []byte, s *Said) *pusherFault {
	if len(value) == 0 || value[0] != '"' {
		return pusherBad(http.StatusBadRequest, "data must be a string; one of JSON for what is none")
	}
	s.Payload, _ = x.reader.Text(value)
	if most := x.app.EventBytesMax; len(s.Payload) > most {
		return pusherBad(http.StatusRequestEntityTooLarge, fmt.Sprintf("data have %d bytes, and those of an event of this app at most %d", len(s.Payload), most))
	}
	if from := firstByte(s.Payload); from < len(s.Payload) && (s.Payload[from] == '{' || s.Payload[from] == '[') {
		s.JSON = dialect.IsJSON(s.Payload)
	}
	return nil
}

// channels are those of an event, each once: PHP names a single one as channel.
func (x *pusherExchange) channels(e *event) (names []string, f *pusherFault) {
	if dialect.IsMissing(e.channelList) {
		name, f := x.channel(e.channel)
		return []string{name}, f
	}
	wrong := pusherBad(http.StatusBadRequest, fmt.Sprintf("channels must be an array of 1 to %d strings", door.AppChannelsMax))
	if e.channelList[0] != '[' {
		return nil, wrong
	}
	n, encrypted := 0, false
	for text := range dialect.Elements(e.channelList) {
		if n++; n > door.AppChannelsMax {
			return nil, wrong
		}
		name, f := x.channel(text)
		if f != nil {
			return nil, f
		}
		encrypted = encrypted || dialect.ChannelOf(name).Encrypted
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	switch {
	case n == 0:
		return nil, wrong
	case encrypted && len(names) > 1:
		return nil, pusherBad(http.StatusBadRequest, "an event for an encrypted channel can go to no other: each channel has a key of its own")
	}
	return names, nil
}

// channel is the name of a channel.
func (x *pusherExchange) channel(value []byte) (string, *pusherFault) {
	name, isText := x.reader.Text(value)
	if !isText || !dialect.IsChannel(string(name), door.AppNameBytesMax) {
		return "", pusherBadChannel(string(name))
	}
	return string(name), nil
}

func pusherBadChannel(name string) *pusherFault {
	return pusherBad(http.StatusBadRequest, fmt.Sprintf("a channel must be named by a string of 1 to %d letters, digits and -_=@,.; and not %s", door.AppNameBytesMax, quote(name)))
}

// deliver offers events, all before it waits for the first as far as a window takes them, and then waits for the word of their homes.
// Where a lane is full, perhaps of what was offered before, it first waits for that.
func (x *pusherExchange) deliver(ctx context.Context, all []delivery) {
	settled, bytes := 0, 0
	settle := func() {
		d := &all[settled]
		if d.fault == nil {
			if _, err := d.pending.Wait(ctx); err != nil {
				d.fault = pusherFaultOf(unsettled(err))
			}
		}
		bytes -= len(d.said.Payload)
		settled++
	}
	for i := range all {
		d := &all[i]
		for settled < i && (i-settled >= windowMax || bytes+len(d.said.Payload) > windowBytesMax) {
			settle()
		}
		group, err := x.app.Group(d.channel), error(nil)
		for {
			d.pending, err = x.pusher.cfg.Backend.Offer(group, d.said)
			if settled == i || !errors.Is(err, loop.ErrBusy) {
				break
			}
			settle()
		}
		if err != nil {
			d.fault = pusherFaultOf(refusal(err))
		}
		bytes += len(d.said.Payload)
	}
	for settled < len(all) {
		settle()
	}
}

// refusals is what is answered where not all events were accepted; nil: all were. The answer says which, for the backend may send those
// again: one that is sent again to all channels is heard twice in the others.
func refusals(all []delivery, name func(i int) string) (worst *pusherFault) {
	var refused, unknown []string
	for i := range all {
		f := all[i].fault
		switch {
		case f == nil:
			continue
		case f == pusherUnknown:
			unknown = append(unknown, name(i))
		default:
			refused = append(refused, name(i))
		}
		if f.worse(worst) {
			worst = f
		}
	}
	if worst == nil || len(all) == 1 {
		return worst
	}
	f := *worst
	if refused != nil {
		f.rest += `,"refused":[` + strings.Join(refused, ",") + `]`
	}
	if unknown != nil {
		f.rest += `,"unknown":[` + strings.Join(unknown, ",") + `]`
	}
	return &f
}

// size is how many there are in a channel.
type size struct {
	members, users int
	known          bool
}

// sizesTimeout bounds the wait for what an event's backend asks of its channels.
const sizesTimeout = 2 * time.Second

// sizes are those of the channels of deliveries, as far as they are asked for. The events are sent: if a size cannot be had, or not in
// time, it is left out, for a backend that is told of a failure sends them again.
func (x *pusherExchange) sizes(ctx context.Context, all []delivery) []size {
	ctx, cancel := context.WithTimeout(ctx, sizesTimeout)
	defer cancel()
	sizes := make([]size, len(all))
	for i := range all {
		if !all[i].info.any() {
			continue
		}
		if past, err := x.presence(ctx, all[i].channel); err == nil {
			sizes[i] = sizeOf(past)
		}
	}
	return sizes
}

// presence is who is in a channel, or how many, as far as the nodes of a cluster have answered.
func (x *pusherExchange) presence(ctx context.Context, channel string) (*Past, error) {
	past, err := x.pusher.cfg.Backend.Presence(ctx, x.app.Group(channel))
	_, err = partly(err)
	return past, err
}

// sizeOf is what a group's home says. Who is there without a name is no user of the Pusher protocol.
func sizeOf(past *Past) size {
	s := size{members: past.Members, users: past.Users, known: true}
	if slices.ContainsFunc(past.Present, func(one loop.Present) bool { return one.Who == nil || one.Who.User() == "" }) {
		s.users--
	}
	return s
}

// append appends what is asked for, "user_count":1,"subscription_count":1. Only presence channels have users.
func (s size) append(dst []byte, asked pusherInfo, channel string) []byte {
	if !s.known {
		return dst
	}
	users := asked.users && dialect.ChannelOf(channel).Presence
	if users {
		dst = append(dst, `"user_count":`...)
		dst = strconv.AppendInt(dst, int64(s.users), 10)
	}
	if asked.subscriptions {
		if users {
			dst = append(dst, ',')
		}
		dst = append(dst, `"subscription_count":`...)
		dst = strconv.AppendInt(dst, int64(s.members), 10)
	}
	return dst
}
