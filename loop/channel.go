package loop

import (
	"strings"
	"time"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// This file is what the names of groups say where there are apps of the Pusher protocol: there a group is a channel, and its name says
// whether its members show a signature, whether they are known to each other, and whether who comes is told the last event. That holds
// for the group, and so for clients of every dialect and for backends; what the group's kind says holds beside it.

// cachedFor is for how long the last event of a cache channel is kept for who comes, as the Pusher service keeps it.
const cachedFor = 30 * time.Minute

// channelOf is the channel that a group is, and the app that has it; nil: there are no apps.
func (b *bounds) channelOf(group string) (channel dialect.Channel, app *door.App) {
	app, name := b.Apps.OfGroup(group)
	if app == nil {
		return channel, nil
	}
	name, _, _ = strings.Cut(name, "/") // no channel's name has one, but who guards private-* means these too
	return dialect.ChannelOf(name), app
}

// withChannel is a group's kind with what its name says. A kind that names who may join, or publish, opens it to whomever it names; else
// that are clients with a token or a signature for it, or fewer.
func (b *bounds) withChannel(kind Kind, group string) Kind {
	channel, app := b.channelOf(group)
	if app == nil {
		return kind
	}
	kind.Presence = kind.Presence || channel.Presence
	if channel.Private && !kind.JoinSaid {
		kind.Join = max(kind.Join, Tokens)
	}
	if channel.Private && !kind.PublishSaid {
		kind.Publish = max(kind.Publish, Tokens)
	}
	return kind
}

// cacheTicks is for how long the last event of a group is kept for who comes; 0: it is not.
func (b *bounds) cacheTicks(group string) uint32 {
	if channel, _ := b.channelOf(group); channel.Cache {
		return ticks(cachedFor)
	}
	return 0
}

// shuts says whether a group is not for a client, whatever it shows, and whoever brings it in: all groups of an app are for that app's clients
// alone, but that those of the first are for clients of dialects without channels too; and of these none is in that of a user.
func (s *shard) shuts(c *client, group []byte) bool {
	if s.bounds.Apps == nil {
		return false
	}
	channel, app := s.bounds.channelOf(borrowString(group))
	if s.entry(c).Channels {
		return app != s.appOf(c)
	}
	return channel.User || !app.First
}

// What clients whose dialect has channels ask a group's home as they join. Nobody writes these.
var (
	asksWho       = &order.Ask{Lists: true}
	asksLast      = &order.Ask{Cached: true}
	asksWhoAndOne = &order.Ask{Lists: true, Cached: true}
)

// asksOf is what c asks the home of a group that it joins, beside what it says itself; nil: nothing.
func (s *shard) asksOf(c *client, group string) *order.Ask {
	if !s.entry(c).Lists {
		return nil
	}
	switch channel, _ := s.bounds.channelOf(group); {
	case channel.Presence && channel.Cache:
		return asksWhoAndOne
	case channel.Presence:
		return asksWho
	case channel.Cache:
		return asksLast
	}
	return nil
}
