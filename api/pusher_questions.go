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

	"ringcast/dialect"
	"ringcast/loop/door"
)

// This file is what backends ask of channels and have done with users.

// pusherChannelsMax is how many channels one answer names, of those of a server's groups that fit the prefix.
const pusherChannelsMax = 100_000

// runPusherChannels tells which channels of the app have members.
func runPusherChannels(ctx context.Context, x *pusherExchange, _ string) *pusherFault {
	query, f := x.query()
	if f != nil {
		return f
	}
	prefix, info := query.Get("filter_by_prefix"), pusherInfoOf(query.Get("info"))
	if info.users && !dialect.ChannelOf(prefix).Presence {
		return pusherBad(http.StatusBadRequest, "only presence channels have a user_count: filter_by_prefix must begin with presence-")
	}
	x.out = append(x.out, `{"channels":{`...)
	if prefix != "" && prefix != "#" && !dialect.IsChannel(prefix, door.AppNameBytesMax) { // no channel's name begins so, and a * would match any
		x.out = append(x.out, `}}`...)
		return nil
	}
	of := x.app.GroupPrefix()
	groups, more, err := x.pusher.cfg.Backend.Groups(ctx, of+prefix+"*", pusherChannelsMax)
	some, err := partly(err)
	if err != nil {
		return pusherFaultOf(unanswered(err))
	}
	slices.SortFunc(groups, func(a, b GroupInfo) int { return strings.Compare(a.Name, b.Name) })
	any := false
	for i := range groups {
		channel := groups[i].Name[len(of):]
		if !dialect.IsChannel(channel, door.AppNameBytesMax) { // it is another app's, or such as only other protocols have
			continue
		}
		size := size{members: groups[i].Members, known: true}
		if info.users {
			past, err := x.presence(ctx, channel)
			if err != nil {
				return pusherFaultOf(unanswered(err))
			}
			size.users = sizeOf(past).users
		}
		if any {
			x.out = append(x.out, ',')
		}
		any = true
		x.out = dialect.AppendString(x.out, []byte(channel))
		x.out = append(x.out, ':', '{')
		x.out = append(size.append(x.out, info, channel), '}')
	}
	x.out = append(x.out, '}')
	if more {
		x.out = append(x.out, `,"more":true`...)
	}
	x.out = append(appendPartly(x.out, some), '}')
	return nil
}

// query is that of the request, as it was signed.
func (x *pusherExchange) query() (door.AppQuery, *pusherFault) {
	query, err := door.ReadAppQuery(x.r.URL.RawQuery)
	if err != nil { // which the check of the signature has seen
		return nil, pusherBad(http.StatusBadRequest, err.Error())
	}
	return query, nil
}

// runPusherChannel tells of one channel whether it has members, and what else is asked for.
func runPusherChannel(ctx context.Context, x *pusherExchange, channel string) *pusherFault {
	query, f := x.query()
	if f != nil {
		return f
	}
	if !dialect.IsChannel(channel, door.AppNameBytesMax) {
		return pusherBadChannel(channel)
	}
	past, err := x.presence(ctx, channel)
	if err != nil {
		return pusherFaultOf(unanswered(err))
	}
	info, size := pusherInfoOf(query.Get("info")), sizeOf(past)
	x.out = append(x.out, `{"occupied":`...)
	x.out = strconv.AppendBool(x.out, size.members > 0)
	if before := len(x.out); info.users || info.subscriptions {
		if x.out = size.append(append(x.out, ','), info, channel); len(x.out) == before+1 {
			x.out = x.out[:before]
		}
	}
	if info.cache {
		x.out = append(x.out, `,"cache":`...)
		if f := x.appendCached(ctx, channel); f != nil {
			return f
		}
	}
	x.out = append(x.out, '}')
	return nil
}

// appendCached appends {"data":"…","ttl":60}, the last event of a channel and for how many whole seconds it is kept yet, or null.
func (x *pusherExchange) appendCached(ctx context.Context, channel string) *pusherFault {
	m, left, err := x.pusher.cfg.Backend.Cached(ctx, x.app.Group(channel))
	switch {
	case err != nil:
		return pusherFaultOf(unanswered(err))
	case m == nil:
		x.out = append(x.out, `null`...)
		return nil
	}
	x.out = append(x.out, `{"data":`...)
	x.out = dialect.AppendString(x.out, m.Payload())
	x.out = append(x.out, `,"ttl":`...)
	x.out = strconv.AppendInt(x.out, max(1, int64(left/time.Second)), 10)
	x.out = append(x.out, '}')
	return nil
}

// runPusherUsers tells which users are in a presence channel.
func runPusherUsers(ctx context.Context, x *pusherExchange, channel string) *pusherFault {
	switch {
	case !dialect.IsChannel(channel, door.AppNameBytesMax):
		return pusherBadChannel(channel)
	case !dialect.ChannelOf(channel).Presence:
		return pusherBad(http.StatusBadRequest, "only presence channels, whose names begin with presence-, have users")
	}
	past, err := x.presence(ctx, channel)
	switch {
	case err != nil:
		return pusherFaultOf(unanswered(err))
	case past.Crowded:
		return pusherBad(http.StatusBadRequest, "the channel has more members than are listed; ask for its user_count")
	}
	users := make([]string, 0, len(past.Present))
	for i := range past.Present {
		if who := past.Present[i].Who; who != nil && who.User() != "" {
			users = append(users, who.User())
		}
	}
	slices.Sort(users)
	x.out = append(x.out, `{"users":[`...)
	for i, user := range slices.Compact(users) {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = append(x.out, `{"id":`...)
		x.out = append(dialect.AppendString(x.out, []byte(user)), '}')
	}
	x.out = append(x.out, `]}`...)
	return nil
}

// runTerminate closes the connections that are signed in as a user, of whatever protocol: each with the code of its own that says so, in
// the Pusher protocol 4009.
func runTerminate(ctx context.Context, x *pusherExchange, user string) *pusherFault {
	if !x.pusher.cfg.Apps().HasUser(x.app, user) { // it would be another app's
		return pusherBad(http.StatusBadRequest, "the id of the user begins with the id of another app and a slash")
	}
	_, err := x.pusher.cfg.Backend.Disconnect(ctx, Target{User: x.app.User(user)}, 0, "")
	some, err := partly(err)
	switch {
	case some != nil: // a library reads no more of the answer than its status
		return &pusherFault{status: http.StatusServiceUnavailable, temporary: true,
			why: fmt.Sprintf("the user's connections are closed on %d of %d machines, the others have not answered; ask again", some.Answered, some.Nodes)}
	case errors.Is(err, context.DeadlineExceeded):
		return pusherBad(http.StatusGatewayTimeout, "it is not known whether all connections of the user are closed; ask again")
	case err != nil:
		return pusherFaultOf(refusal(err))
	}
	x.out = append(x.out, `{}`...)
	return nil
}

// runConnections tells how many clients there are, of whatever protocol, on all machines, as Laravel Reverb does of its own. They are
// not counted by app, so it is told to the first app, whose channels all protocols share.
func runConnections(ctx context.Context, x *pusherExchange, _ string) *pusherFault {
	if !x.app.First {
		return pusherBad(http.StatusNotFound, "connections are not counted by app; the first app is told of all")
	}
	nodes, err := x.pusher.cfg.Backend.Nodes(ctx)
	some, err := partly(err)
	if err != nil {
		return pusherFaultOf(unanswered(err))
	}
	var clients int64
	for i := range nodes {
		clients += nodes[i].Clients
	}
	if len(nodes) == 0 {
		snap := x.pusher.cfg.Backend.Snapshot()
		clients = snap.Total().Clients
	}
	x.out = append(x.out, `{"connections":`...)
	x.out = strconv.AppendInt(x.out, clients, 10)
	x.out = append(appendPartly(x.out, some), '}')
	return nil
}
