package api

import (
	"context"
	"strconv"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
)

// Bounds of answers.
const (
	historyBytesMax = 4 << 20 // messages of one history call, as they are kept
	channelsMax     = 10_000  // names in one answer
)

// runPresence tells who the members of a group are.
func runPresence(ctx context.Context, x *exchange) *fault {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return f
	}
	p, err := x.server.cfg.Backend.Presence(ctx, group)
	_, err = partly(err) // it is so only where there is no presence
	switch {
	case err != nil:
		return unanswered(err)
	case p.None:
		return faultNoPresence
	case p.Crowded:
		return faultCrowded
	}
	x.out = append(x.out, `{"presence":{`...)
	for i, one := range p.Present {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		name := one.Name
		if name == "" {
			name = x.server.cfg.Backend.ClientName(one.Client)
		}
		x.out = dialect.AppendString(x.out, []byte(name))
		x.out = append(x.out, ':')
		x.out = appendInfo(x.out, name, one.Who)
	}
	x.out = append(x.out, `}}`...)
	return nil
}

// runPresenceStats tells how many they are. How many users is known only where who they are is.
func runPresenceStats(ctx context.Context, x *exchange) *fault {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return f
	}
	p, err := x.server.cfg.Backend.Presence(ctx, group)
	some, err := partly(err)
	if err != nil {
		return unanswered(err)
	}
	x.out = append(x.out, `{"num_clients":`...)
	x.out = strconv.AppendInt(x.out, int64(p.Members), 10)
	if !p.None {
		x.out = append(x.out, `,"num_users":`...)
		x.out = strconv.AppendInt(x.out, int64(p.Users), 10)
	}
	x.out = appendPartly(x.out, some)
	x.out = append(x.out, '}')
	return nil
}

// runHistory tells what was said to a group, as far as it is kept.
func runHistory(ctx context.Context, x *exchange) *fault {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return f
	}
	ask, f := x.call.ask(&x.reader)
	if f != nil {
		return f
	}
	ask.MessagesMax, ask.BytesMax = x.server.cfg.RecoveryMax(), historyBytesMax
	p, err := x.server.cfg.Backend.History(ctx, group, ask)
	switch {
	case err != nil:
		return unanswered(err)
	case p.None:
		return faultNoHistory
	case p.Lost:
		return faultLost
	}
	x.out = append(x.out, `{"publications":[`...)
	for i, m := range p.Messages {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = x.appendPublication(x.out, &m.Message)
	}
	x.out = append(x.out, `],"epoch":"`...)
	x.out = dialect.AppendEpoch(x.out, uint64(p.Top.Epoch))
	x.out = append(x.out, `","offset":`...)
	x.out = strconv.AppendUint(x.out, p.Top.Offset, 10)
	x.out = append(x.out, '}')
	return nil
}

// appendPublication appends {"data":…,"info":{…},"offset":7,"tags":{…}} on one line. Text becomes a JSON string.
func (x *exchange) appendPublication(dst []byte, m *dialect.Message) []byte {
	dst = append(dst, `{"data":`...)
	if m.JSON {
		dst = dialect.AppendLine(dst, m.Payload())
	} else {
		dst = dialect.AppendString(dst, m.Payload())
	}
	client, named := m.Sender()
	name := ""
	switch {
	case m.More != nil && m.More.Client != "":
		name, named = m.More.Client, true // of another node, which has named it
	case named:
		name = x.server.cfg.Backend.ClientName(client)
	}
	if who := m.Who(); named || who != nil {
		dst = append(dst, `,"info":`...)
		dst = appendInfo(dst, name, who)
	}
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendUint(dst, m.Offset, 10)
	if m.More != nil && m.More.Tags != nil {
		dst = append(dst, `,"tags":`...)
		dst = append(dst, m.More.Tags...)
	}
	return append(dst, '}')
}

// appendInfo appends what is told of a client and its user: {"user":"ann","client":"…","conn_info":{…},"chan_info":{…}}. name is empty
// for a user whose words the server has passed on.
func appendInfo(dst []byte, name string, who *dialect.Who) []byte {
	if who == nil {
		who = dialect.WhoIs{}.Who()
	}
	dst = append(dst, `{"user":`...)
	dst = dialect.AppendString(dst, []byte(who.User()))
	dst = append(dst, `,"client":`...)
	dst = dialect.AppendString(dst, []byte(name))
	if who.Info() != nil {
		dst = append(dst, `,"conn_info":`...)
		dst = append(dst, who.Info()...)
	}
	if who.GroupInfo() != nil {
		dst = append(dst, `,"chan_info":`...)
		dst = append(dst, who.GroupInfo()...)
	}
	return append(dst, '}')
}

// runHistoryRemove forgets what was said to a group.
func runHistoryRemove(ctx context.Context, x *exchange) *fault {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return f
	}
	if err := x.server.cfg.Backend.Forget(ctx, group); err != nil {
		return unsettled(err)
	}
	x.out = append(x.out, `{}`...)
	return nil
}

// runChannels tells which groups have members. If there are more than are named, more says so.
func runChannels(ctx context.Context, x *exchange) *fault {
	pattern, isText := x.reader.Text(x.call.pattern)
	if !isText || len(pattern) > patternBytesMax {
		return badRequest("pattern must be a string of at most 1024 bytes")
	}
	groups, more, err := x.server.cfg.Backend.Groups(ctx, string(pattern), channelsMax)
	some, err := partly(err)
	if err != nil {
		return unanswered(err)
	}
	x.out = append(x.out, `{"channels":{`...)
	for i, g := range groups {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = dialect.AppendString(x.out, []byte(g.Name))
		x.out = append(x.out, `:{"num_clients":`...)
		x.out = strconv.AppendInt(x.out, int64(g.Members), 10)
		x.out = append(x.out, '}')
	}
	x.out = append(x.out, '}')
	if more {
		x.out = append(x.out, `,"more":true`...)
	}
	x.out = appendPartly(x.out, some)
	x.out = append(x.out, '}')
	return nil
}

// patternBytesMax is the longest pattern, as for those of kinds: each group's name is compared with it.
const patternBytesMax = 1_024

// runInfo tells how many clients and groups there are, on each node.
func runInfo(ctx context.Context, x *exchange) *fault {
	cfg := &x.server.cfg
	nodes, err := cfg.Backend.Nodes(ctx)
	some, err := partly(err)
	if err != nil {
		return unanswered(err)
	}
	if len(nodes) == 0 {
		snap := cfg.Backend.Snapshot()
		total := snap.Total()
		nodes = []loop.NodeInfo{{UID: cfg.UID, Name: cfg.Name, Version: cfg.Version, Clients: total.Clients, Users: int64(cfg.Backend.Users()),
			Members: total.Members, Groups: total.Groups, Uptime: int64(time.Since(snap.Started) / time.Second)}}
	}
	x.out = append(x.out, `{"nodes":[`...)
	for i := range nodes {
		if i > 0 {
			x.out = append(x.out, ',')
		}
		x.out = appendNode(x.out, &nodes[i])
	}
	x.out = append(x.out, ']')
	if some != nil { // the name nodes is taken
		x.out = append(x.out, `,"num_nodes":`...)
		x.out = strconv.AppendInt(x.out, int64(some.Nodes), 10)
	}
	x.out = append(x.out, '}')
	return nil
}

// appendNode appends what a node says of itself.
func appendNode(dst []byte, n *loop.NodeInfo) []byte {
	dst = append(dst, `{"uid":`...)
	dst = dialect.AppendString(dst, []byte(n.UID))
	dst = append(dst, `,"name":`...)
	dst = dialect.AppendString(dst, []byte(n.Name))
	dst = append(dst, `,"version":`...)
	dst = dialect.AppendString(dst, []byte(n.Version))
	for _, m := range []struct {
		name   string
		number int64
	}{
		{"num_clients", n.Clients}, {"num_users", n.Users}, {"num_subs", n.Members}, {"num_channels", n.Groups}, {"uptime", n.Uptime},
	} {
		dst = append(dst, `,"`...)
		dst = append(dst, m.name...)
		dst = append(dst, `":`...)
		dst = strconv.AppendInt(dst, m.number, 10)
	}
	return append(dst, '}')
}
