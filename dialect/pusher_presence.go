package dialect

import (
	"slices"
	"strconv"
	"strings"
)

// This file has who is there: the members of a channel with presence, who are users, each once, however many clients it has there. Who is
// not a user is not told of.

const (
	eventMemberAdded   = "pusher_internal:member_added"
	eventMemberRemoved = "pusher_internal:member_removed"
)

// encodeMove is the frame that tells that a user has come, {"user_id":"ann","user_info":…}, or gone; none if nobody is to be told of it.
func (p *pusher) encodeMove(m *Message) []byte {
	who := m.Who()
	if who == nil || who.User() == "" || !m.More.Edge || !ChannelOf(m.Group).Presence {
		return nil
	}
	event := eventMemberRemoved
	data := append(p.data[:0], `{"user_id":`...)
	if who.NumberID() {
		data = append(data, who.User()...)
	} else {
		data = p.appendUser(data, who)
	}
	if m.Sort == Came {
		event = eventMemberAdded
		data = append(data, `,"user_info":`...)
		data = append(data, infoOf(who)...)
	}
	data = append(data, '}')
	p.keepData(data)
	p.channel = append(p.channel[:0], ChannelName(m.Group)...)
	return appendEvent(nil, event, p.channel, data)
}

// appendPresence appends {"presence":{"ids":["ann"],"hash":{"ann":{…}},"count":1}}, in the order of the users' names. Of clients of one user
// that say different things of it the one that is listed first counts.
func (p *pusher) appendPresence(dst []byte, present []Present) []byte {
	users := p.members[:0]
	for i := range present {
		if who := present[i].Who; who != nil && who.User() != "" {
			users = append(users, who)
		}
	}
	slices.SortStableFunc(users, func(a, b *Who) int { return strings.Compare(a.User(), b.User()) })
	each := slices.CompactFunc(users, func(a, b *Who) bool { return a.User() == b.User() })
	dst = append(dst, `{"presence":{"ids":[`...)
	for i, who := range each {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = p.appendUser(dst, who)
	}
	dst = append(dst, `],"hash":{`...)
	for i, who := range each {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = p.appendUser(dst, who)
		dst = append(dst, ':')
		dst = append(dst, infoOf(who)...)
	}
	dst = append(dst, `},"count":`...)
	dst = strconv.AppendInt(dst, int64(len(each)), 10)
	clear(users) // nobody is kept
	p.members = users[:0]
	return append(dst, `}}`...)
}

// appendUser appends a user's name as a JSON string.
func (p *pusher) appendUser(dst []byte, who *Who) []byte {
	p.user = append(p.user[:0], who.User()...)
	return appendQuoted(dst, p.user)
}

// infoOf is what a channel's members are told of a user: what is said of it there, or else what is said of it everywhere. A page must be told
// something of each, so nothing is null.
func infoOf(who *Who) []byte {
	switch {
	case who.GroupInfo() != nil:
		return who.GroupInfo()
	case who.Info() != nil:
		return who.Info()
	}
	return jsonNull
}

// keepData keeps the memory of the data of a frame for the next one, unless it is large.
func (p *pusher) keepData(data []byte) {
	if p.data = data[:0]; cap(data) > scratchBytesKept {
		p.data = nil
	}
}
