package settings

import (
	"time"

	"ringcast/loop"
)

// limitFlags are the flags of start whose values can be changed while the server runs: loop.Limits in the operator's
// words, and in the order of its fields.
type limitFlags struct {
	MessageMax     string `name:"message-max" default:"1MiB" env:"RINGCAST_MESSAGE_MAX" help:"Largest message a client may send; a larger one closes it with 1009."`
	MessageTimeout string `name:"message-timeout" default:"2m" env:"RINGCAST_MESSAGE_TIMEOUT" help:"How long a message may take from its first byte to its last, or off; beyond it the client is closed with 1008."`
	GroupNameMax   string `name:"group-name-max" default:"255" env:"RINGCAST_GROUP_NAME_MAX" help:"Longest name of a group, in bytes, up to 255."`
	ClientGroups   string `name:"client-groups-max" default:"1024" env:"RINGCAST_CLIENT_GROUPS_MAX" help:"Groups that one client may be in; beyond it: error too_many_groups."`
	CommandRate    string `name:"command-rate" default:"off" env:"RINGCAST_COMMAND_RATE" help:"Commands and pings a second that one client may send; beyond it: error rate_limited, or close 1008 for who uses no ids."`
	ByteRate       string `name:"byte-rate" default:"off" env:"RINGCAST_BYTE_RATE" help:"Bytes a second that one client may send, such as 64KiB; beyond it: as for --command-rate."`

	GroupsMax  string `name:"groups-max" default:"off" env:"RINGCAST_GROUPS_MAX" help:"Groups that may have members at one time; beyond it: error groups_full."`
	MembersMax string `name:"members-max" default:"off" env:"RINGCAST_MEMBERS_MAX" help:"Members that one group may have; beyond it: error group_full."`

	ClientsMax     string `name:"clients-max" default:"auto" env:"RINGCAST_CLIENTS_MAX" help:"Connections at one time; auto is what the limit of open files allows; beyond it: 503."`
	AddressMax     string `name:"address-clients-max" default:"off" env:"RINGCAST_ADDRESS_CLIENTS_MAX" help:"Connections from one IPv4 address or IPv6 /64; beyond it: 503, or 429 where a proxy names the address."`
	HandshakeMax   string `name:"handshake-max" default:"8KiB" env:"RINGCAST_HANDSHAKE_MAX" help:"Largest request head; beyond it: 431."`
	HandshakeTime  string `name:"handshake-timeout" default:"10s" env:"RINGCAST_HANDSHAKE_TIMEOUT" help:"How long a connection may take to become a WebSocket; beyond it: 408."`
	HandshakesMax  string `name:"handshakes-max" default:"100000" env:"RINGCAST_HANDSHAKES_MAX" help:"Unfinished handshakes at one time, never more than half of the connections; beyond it the oldest is answered 408."`
	HandshakeRate  string `name:"handshake-rate" default:"off" env:"RINGCAST_HANDSHAKE_RATE" help:"Handshakes a second, so that a reconnect storm is spread; beyond it: 503 with Retry-After."`
	AllowedOrigins string `name:"allowed-origins" default:"*" placeholder:"ORIGIN,…" env:"RINGCAST_ALLOWED_ORIGINS" help:"Whose pages may connect, such as https://example.org,https://*.example.org; others: 403. Default: *, all. Programs that send no Origin may."`
	TrustedProxies string `name:"trusted-proxies" default:"" placeholder:"CIDR,…" env:"RINGCAST_TRUSTED_PROXIES" help:"Proxies whose X-Forwarded-For or PROXY header names the client's address."`
	ProxyProtocol  string `name:"proxy-protocol" default:"off" env:"RINGCAST_PROXY_PROTOCOL" help:"on: trusted proxies begin each connection with a PROXY protocol header, version 1 or 2."`

	OutboxMax    string `name:"outbox-max" default:"1MiB" env:"RINGCAST_OUTBOX_MAX" help:"Most bytes that may wait for one slow client."`
	OutboxesMax  string `name:"outboxes-max" default:"auto" env:"RINGCAST_OUTBOXES_MAX" help:"Most bytes that may wait for all clients together; auto is a quarter of --memory-limit; beyond it the slowest are cut off."`
	SlowClient   string `name:"slow-client" default:"close" env:"RINGCAST_SLOW_CLIENT" help:"close: a client whose outbox is full is closed with 4008. drop: one that uses ids loses messages instead, and is told how many."`
	FragmentsMax string `name:"fragments-max" default:"auto" env:"RINGCAST_FRAGMENTS_MAX" help:"Most bytes of unfinished messages of all clients together; auto is an eighth of --memory-limit; beyond it: close 1013."`
	MemoryLimit  string `name:"memory-limit" default:"auto" env:"RINGCAST_MEMORY_LIMIT" help:"Memory of the process; near it newcomers and messages are refused, then the slowest clients cut off. auto is GOMEMLIMIT, or four fifths of what the machine or container has; or off."`

	Heartbeat string `name:"heartbeat" default:"60s" env:"RINGCAST_HEARTBEAT" help:"Ping a client that was silent for this long, close it after twice of it; off to keep silent clients for ever."`
	SlowTurn  string `name:"slow-turn" default:"100ms" env:"RINGCAST_SLOW_TURN" help:"Log where a loop is when it is busy with one thing for longer than this, or off."`
}

// Bounds on what an operator may ask for. The lower ones keep a slip of the unit (60 for 60s, 1 for 1MiB) from making a
// server that closes everybody; the upper ones keep one client from taking the memory of all others.
const (
	messageBytesMin, messageBytesTop     = 1 << 10, 64 << 20
	outboxBytesMin, outboxBytesTop       = 1 << 10, 1 << 30
	budgetBytesMin, budgetBytesTop       = 1 << 20, 1 << 40
	byteRateMin, byteRateTop             = 100, 1 << 30
	memoryBytesMin, memoryBytesTop       = 32 << 20, 1 << 42
	handshakeBytesMin, handshakeBytesTop = 1 << 10, 64 << 10
	countTop                             = 1_000_000_000

	heartbeatMin, heartbeatTop           = time.Second, 24 * time.Hour
	handshakeMin, handshakeTop           = 100 * time.Millisecond, 10 * time.Minute
	messageTimeoutMin, messageTimeoutTop = time.Second, 24 * time.Hour
	slowTurnMin, slowTurnTop             = time.Millisecond, time.Minute
)

func (f *limitFlags) limits(c *checker) loop.Limits {
	l := loop.Limits{
		MessageBytesMax:   c.size("message-max", f.MessageMax, messageBytesMin, messageBytesTop),
		MessageTimeout:    c.durationOff("message-timeout", f.MessageTimeout, messageTimeoutMin, messageTimeoutTop),
		GroupBytesMax:     c.count("group-name-max", f.GroupNameMax, "", 1, loop.GroupBytesMax),
		GroupsPerClient:   c.count("client-groups-max", f.ClientGroups, "", 1, countTop),
		CommandsPerSecond: c.count("command-rate", f.CommandRate, "off", 1, 1_000_000),
		BytesPerSecond:    int(c.sizeOr("byte-rate", f.ByteRate, "off", byteRateMin, byteRateTop)),

		GroupsMax:  c.count("groups-max", f.GroupsMax, "off", 1, countTop),
		MembersMax: c.count("members-max", f.MembersMax, "off", 1, countTop),

		ClientsMax:          c.count("clients-max", f.ClientsMax, "auto", 1, countTop),
		ClientsPerAddress:   c.count("address-clients-max", f.AddressMax, "off", 1, countTop),
		HandshakeBytesMax:   c.size("handshake-max", f.HandshakeMax, handshakeBytesMin, handshakeBytesTop),
		HandshakeTimeout:    c.duration("handshake-timeout", f.HandshakeTime, handshakeMin, handshakeTop),
		HandshakesMax:       c.count("handshakes-max", f.HandshakesMax, "", 1, countTop),
		HandshakesPerSecond: c.count("handshake-rate", f.HandshakeRate, "off", 1, 1_000_000),
		AllowedOrigins:      c.origins("allowed-origins", f.AllowedOrigins),
		TrustedProxies:      c.networks("trusted-proxies", f.TrustedProxies),
		ProxyProtocol:       c.oneOf("proxy-protocol", f.ProxyProtocol, "on", "off") == "on",

		OutboxBytesMax:    c.size("outbox-max", f.OutboxMax, outboxBytesMin, outboxBytesTop),
		OutboxesBytesMax:  c.sizeOr("outboxes-max", f.OutboxesMax, "auto", budgetBytesMin, budgetBytesTop),
		DropSlow:          c.oneOf("slow-client", f.SlowClient, "close", "drop") == "drop",
		FragmentsBytesMax: c.sizeOr("fragments-max", f.FragmentsMax, "auto", budgetBytesMin, budgetBytesTop),
		MemoryMax:         c.memory("memory-limit", f.MemoryLimit),

		Heartbeat: c.durationOff("heartbeat", f.Heartbeat, heartbeatMin, heartbeatTop),
		SlowTurn:  c.durationOff("slow-turn", f.SlowTurn, slowTurnMin, slowTurnTop),
	}
	l.Kinds = c.kinds(loop.Kind{MembersMax: l.MembersMax})
	if l.ProxyProtocol && len(l.TrustedProxies) == 0 {
		c.wrong("proxy-protocol", f.ProxyProtocol, "needs to know who may send the header; name the proxies with --trusted-proxies")
	}
	return l
}

// memory is the memory limit in bytes, 0 for off.
func (c *checker) memory(flag, value string) int64 {
	switch value {
	case "off":
		return 0
	case "auto":
		return c.g.reading.Memory
	}
	return c.sizeOr(flag, value, "auto or off", memoryBytesMin, memoryBytesTop)
}
