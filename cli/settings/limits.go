package settings

import (
	"time"

	"ringcast/loop"
)

// limitFlags are the flags of start whose values can be changed while the server runs: loop.Limits as an operator writes
// it, in the order of its fields.
type limitFlags struct {
	MessageMax     string `name:"message-max" default:"1MiB" env:"RINGCAST_MESSAGE_MAX" help:"Largest message that a client may send; beyond it the client is closed with 1009."`
	MessageTimeout string `name:"message-timeout" default:"2m" env:"RINGCAST_MESSAGE_TIMEOUT" help:"How long a message may take from its first byte to its last, or off; beyond it the client is closed with 1008."`
	GroupNameMax   string `name:"group-name-max" default:"255" env:"RINGCAST_GROUP_NAME_MAX" help:"Longest name of a group, in bytes, up to 255."`
	ClientGroups   string `name:"client-groups-max" default:"1024" env:"RINGCAST_CLIENT_GROUPS_MAX" help:"Groups that one client may be in; beyond it: error too_many_groups."`
	CommandRate    string `name:"command-rate" default:"off" env:"RINGCAST_COMMAND_RATE" help:"Commands, pings and pongs per second from one client; beyond it: error rate_limited, or close 1008 for a command without an id."`
	ByteRate       string `name:"byte-rate" default:"off" env:"RINGCAST_BYTE_RATE" help:"Bytes per second from one client, such as 64KiB; beyond it: as for --command-rate."`

	GroupsMax  string `name:"groups-max" default:"off" env:"RINGCAST_GROUPS_MAX" help:"Groups that may have members at the same time; beyond it: error groups_full."`
	MembersMax string `name:"members-max" default:"off" env:"RINGCAST_MEMBERS_MAX" help:"Members that one group may have; beyond it: error group_full."`

	ClientsMax     string `name:"clients-max" default:"auto" env:"RINGCAST_CLIENTS_MAX" help:"Open connections; auto is what the limit of open files allows; beyond it: 503."`
	AddressMax     string `name:"address-clients-max" default:"off" env:"RINGCAST_ADDRESS_CLIENTS_MAX" help:"Connections from one IPv4 address or IPv6 /64; beyond it: 503, or 429 where a proxy names the address."`
	HandshakeMax   string `name:"handshake-max" default:"8KiB" env:"RINGCAST_HANDSHAKE_MAX" help:"Largest request head; beyond it: 431."`
	HandshakeTime  string `name:"handshake-timeout" default:"10s" env:"RINGCAST_HANDSHAKE_TIMEOUT" help:"Time for a request head to be complete; beyond it: 408."`
	HandshakesMax  string `name:"handshakes-max" default:"100000" env:"RINGCAST_HANDSHAKES_MAX" help:"Handshakes in progress, never more than half of the connections that are allowed; beyond it the oldest is answered 408."`
	HandshakeRate  string `name:"handshake-rate" default:"off" env:"RINGCAST_HANDSHAKE_RATE" help:"Handshakes per second, to spread a reconnect storm; beyond it: 503 with Retry-After."`
	AllowedOrigins string `name:"allowed-origins" default:"*" placeholder:"ORIGIN,…" env:"RINGCAST_ALLOWED_ORIGINS" help:"Origins whose pages may connect, such as https://example.org,https://*.example.org; others get 403. Default: *, all. Clients that send no Origin may always connect."`
	TrustedProxies string `name:"trusted-proxies" default:"" placeholder:"CIDR,…" env:"RINGCAST_TRUSTED_PROXIES" help:"Proxies whose X-Forwarded-For or PROXY header names the client's address."`
	ProxyProtocol  string `name:"proxy-protocol" default:"off" env:"RINGCAST_PROXY_PROTOCOL" help:"on or off. on: trusted proxies begin each connection with a PROXY protocol header, version 1 or 2."`

	OutboxMax    string `name:"outbox-max" default:"1MiB" env:"RINGCAST_OUTBOX_MAX" help:"Bytes that may wait for one slow client; beyond it: see --slow-client."`
	OutboxesMax  string `name:"outboxes-max" default:"auto" env:"RINGCAST_OUTBOXES_MAX" help:"Bytes that may wait for all clients together; auto is a quarter of --memory-limit; beyond it the clients with the largest outboxes are closed with 4008."`
	SlowClient   string `name:"slow-client" default:"close" env:"RINGCAST_SLOW_CLIENT" help:"close: a client whose outbox is full is closed with 4008. drop: a client that uses ids loses messages instead, and is told how many."`
	FragmentsMax string `name:"fragments-max" default:"auto" env:"RINGCAST_FRAGMENTS_MAX" help:"Bytes of partial messages and request heads of all clients together; auto is an eighth of --memory-limit; beyond it: close 1013, or 503."`
	MemoryLimit  string `name:"memory-limit" default:"auto" env:"RINGCAST_MEMORY_LIMIT" help:"Memory of the process; near it new connections and messages are refused, then the clients with the largest outboxes are closed. auto is GOMEMLIMIT, or four fifths of the memory of the machine or container; or off."`

	Heartbeat string `name:"heartbeat" default:"60s" env:"RINGCAST_HEARTBEAT" help:"Ping a client that has been silent for this long and close it after twice that; off never closes silent clients."`
	SlowTurn  string `name:"slow-turn" default:"100ms" env:"RINGCAST_SLOW_TURN" help:"Log the stack of an event loop that is busy with one callback for longer than this, or off."`
}

// Bounds on what an operator may ask for. The lower ones keep a wrong unit (60ms for 60s, 1 for 1MiB) from making a
// server that closes every client; the upper ones keep one client from using up the memory of all others.
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
		c.wrong("proxy-protocol", f.ProxyProtocol, "needs the addresses of the proxies that send the header; name them with --trusted-proxies")
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
