package settings

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"ringcast/loop"
)

// limitFlags are the flags of start whose values can be changed while the server runs: loop.Limits as an operator writes it.
// A flag is one line here: it sets the field of loop.Limits with the same name, in the same order, and its tag value says how
// it is read:
//
//	size MIN MAX [WORD]      bytes, in an int or int64; the word, off or auto, stands for 0
//	count MIN MAX [WORD]     a whole number; the word stands for 0
//	duration MIN MAX [off]   off stands for -1
//	memory MIN MAX           a size; auto is that of the Source, and off stands for 0
//	words A B …              one of these words, which stand for 0, 1, …, or for false and true; - is no word
//	origins, tokens, proxies  lists
//
// The lower bounds keep a wrong unit (60ms for 60s, 1 for 1MiB) from making a server that closes every client; the upper ones
// keep one client from using up the memory of all others.
type limitFlags struct {
	MessageBytesMax   string `name:"message-max" default:"1MiB" value:"size 1KiB 64MiB" env:"RINGCAST_MESSAGE_MAX" help:"Largest message that a client may send; beyond it the client is closed with 1009."`
	MessageTimeout    string `name:"message-timeout" default:"2m" value:"duration 1s 24h off" env:"RINGCAST_MESSAGE_TIMEOUT" help:"How long a message may take from its first byte to its last, or off; beyond it the client is closed with 1008."`
	GroupBytesMax     string `name:"group-name-max" default:"255" value:"count 1 255" env:"RINGCAST_GROUP_NAME_MAX" help:"Longest name of a group, in bytes, up to 255."`
	GroupsPerClient   string `name:"client-groups-max" default:"1024" value:"count 1 100000" env:"RINGCAST_CLIENT_GROUPS_MAX" help:"Groups that one client may be in, up to 100000; beyond it: error too_many_groups."`
	CommandsPerSecond string `name:"command-rate" default:"off" value:"count 1 1000000 off" env:"RINGCAST_COMMAND_RATE" help:"Commands, pings and pongs per second from one client; beyond it: error rate_limited, or close 1008 for a command without an id."`
	BytesPerSecond    string `name:"byte-rate" default:"off" value:"size 100 1GiB off" env:"RINGCAST_BYTE_RATE" help:"Bytes per second from one client, such as 64KiB; beyond it: as for --command-rate."`

	GroupsMax  string `name:"groups-max" default:"off" value:"count 1 1000000000 off" env:"RINGCAST_GROUPS_MAX" help:"Groups that may have members at the same time; beyond it: error groups_full."`
	MembersMax string `name:"members-max" default:"off" value:"count 1 1000000000 off" env:"RINGCAST_MEMBERS_MAX" help:"Members that one group may have; beyond it: error group_full."`

	History         string `name:"history" default:"off" value:"count 0 100000 off" env:"RINGCAST_HISTORY" help:"Messages that are kept of each group, up to 100000, for Centrifuge clients that have missed them or ask for them; beyond it the oldest goes; or off."`
	HistoryTTL      string `name:"history-ttl" default:"5m" value:"duration 1s 24h" env:"RINGCAST_HISTORY_TTL" help:"How long a message is kept in a history, and a group with a history when its last member has gone."`
	HistoryBytesMax string `name:"history-max" default:"auto" value:"size 1MiB 1024GiB auto" env:"RINGCAST_HISTORY_MAX" help:"Bytes of the histories of all groups together; auto is an eighth of --memory-limit; beyond it the oldest messages of all go."`
	RecoveryMax     string `name:"recovery-max" default:"1000" value:"count 1 10000" env:"RINGCAST_RECOVERY_MAX" help:"Messages that one resume or history call may be answered with, up to 10000; a client that has missed more is told so and gets none of them."`

	Presence  string `name:"presence" default:"off" value:"words off on" env:"RINGCAST_PRESENCE" help:"on or off. on: of each group can be asked who its members are, and members can hear who comes and goes."`
	JoinLeave string `name:"join-leave" default:"asked" value:"words asked off all" env:"RINGCAST_JOIN_LEAVE" help:"Which members of a group with presence hear who comes and goes: off, none; asked, those that ask for it as they join; all. Plain clients never do."`
	Join      string `name:"join" default:"anyone" value:"words anyone user - token" env:"RINGCAST_JOIN" help:"Who may join groups: anyone, user (clients that have said who they are) or token (those with a token for the group); others: error forbidden. See --token-secret."`
	Publish   string `name:"publish" default:"anyone" value:"words anyone user member token server" env:"RINGCAST_PUBLISH" help:"Who may publish to groups: anyone, member, server (no client, only --channel), or user or token as for --join; others: error forbidden."`
	Fast      string `name:"mode" default:"durable" value:"words durable fast" env:"RINGCAST_MODE" help:"durable or fast, in a cluster. durable: messages are put in one order on all nodes, and what was answered ok survives a node. fast: a message is sent at once, is not kept, and may be lost between nodes, each of which has an order of its own; such groups have no history."`

	ClientsMax          string `name:"clients-max" default:"auto" value:"count 1 1000000000 auto" env:"RINGCAST_CLIENTS_MAX" help:"Open connections; auto is what the limit of open files allows; beyond it: 503."`
	ClientsPerAddress   string `name:"address-clients-max" default:"off" value:"count 1 1000000000 off" env:"RINGCAST_ADDRESS_CLIENTS_MAX" help:"Connections from one IPv4 address or IPv6 /64; beyond it: 503, or 429 where a proxy names the address."`
	HandshakeBytesMax   string `name:"handshake-max" default:"16KiB" value:"size 1KiB 64KiB" env:"RINGCAST_HANDSHAKE_MAX" help:"Largest request head; beyond it: 431, or 414 if its URL is to blame."`
	HandshakeTimeout    string `name:"handshake-timeout" default:"10s" value:"duration 100ms 10m" env:"RINGCAST_HANDSHAKE_TIMEOUT" help:"Time for a request head to be complete; beyond it: 408."`
	HandshakesMax       string `name:"handshakes-max" default:"100000" value:"count 1 1000000000" env:"RINGCAST_HANDSHAKES_MAX" help:"Handshakes in progress, never more than half of the connections that are allowed; beyond it the oldest is answered 408."`
	HandshakesPerSecond string `name:"handshake-rate" default:"off" value:"count 1 1000000 off" env:"RINGCAST_HANDSHAKE_RATE" help:"Handshakes per second, to spread a reconnect storm; beyond it: 503 with Retry-After."`
	AllowedOrigins      string `name:"allowed-origins" default:"*" value:"origins" placeholder:"ORIGIN,…" env:"RINGCAST_ALLOWED_ORIGINS" help:"Origins whose pages may connect, such as https://example.org,https://*.example.org; others get 403. Default: *, all. Clients that send no Origin may always connect."`
	Subprotocols        string `name:"subprotocols" default:"" value:"tokens" placeholder:"NAME,…" env:"RINGCAST_SUBPROTOCOLS" help:"Subprotocols for pages that ask for one: of those that a page names the first that is here is answered. Messages are the same with any."`
	Compression         string `name:"compression" default:"off" value:"words off on" env:"RINGCAST_COMPRESSION" help:"on or off. on: clients that offer permessage-deflate, as browsers do, send and are sent compressed messages; each message is compressed once for all of them."`
	CompressionMin      string `name:"compression-min" default:"256" value:"size 1 64MiB" env:"RINGCAST_COMPRESSION_MIN" help:"With --compression the smallest message that is compressed, in bytes."`
	TrustedProxies      string `name:"trusted-proxies" default:"" value:"proxies" placeholder:"CIDR,…" env:"RINGCAST_TRUSTED_PROXIES" help:"Proxies whose X-Forwarded-For or PROXY header names the client's address; unix stands for those that connect by a unix socket."`
	ProxyProtocol       string `name:"proxy-protocol" default:"off" value:"words off on" env:"RINGCAST_PROXY_PROTOCOL" help:"on or off. on: trusted proxies begin each connection with a PROXY protocol header, version 1 or 2."`

	OutboxBytesMax    string `name:"outbox-max" default:"1MiB" value:"size 1KiB 1GiB" env:"RINGCAST_OUTBOX_MAX" help:"Bytes that may wait for one slow client; beyond it: see --slow-client."`
	OutboxesBytesMax  string `name:"outboxes-max" default:"auto" value:"size 1MiB 1024GiB auto" env:"RINGCAST_OUTBOXES_MAX" help:"Bytes that may wait for all clients together; auto is a quarter of --memory-limit; beyond it the clients with the largest outboxes are closed with 4008."`
	SlowClient        string `name:"slow-client" default:"heal" value:"words heal close drop" env:"RINGCAST_SLOW_CLIENT" help:"What happens to a client whose outbox is full. heal: a Centrifuge client gets what it has lost from its groups' histories; all others, and one that has lost more than that, are closed with 4008, Centrifuge clients with 3008. close: all are closed. drop: a client that uses ids loses messages, and is told how many; others are closed."`
	FragmentsBytesMax string `name:"fragments-max" default:"auto" value:"size 1MiB 1024GiB auto" env:"RINGCAST_FRAGMENTS_MAX" help:"Bytes of partial messages and request heads of all clients together; auto is an eighth of --memory-limit; beyond it: close 1013, or 503."`
	MemoryMax         string `name:"memory-limit" default:"auto" value:"memory 32MiB 4096GiB" env:"RINGCAST_MEMORY_LIMIT" help:"Memory of the process; near it new connections and messages are refused, then the clients with the largest outboxes are closed. auto is GOMEMLIMIT, or four fifths of the memory of the machine, container or systemd unit; or off."`

	Heartbeat string `name:"heartbeat" default:"60s" value:"duration 1s 24h off" env:"RINGCAST_HEARTBEAT" help:"Ping a client that has been silent for this long and close it after twice that; off never closes silent clients."`
	SlowTurn  string `name:"slow-turn" default:"100ms" value:"duration 1ms 1m off" env:"RINGCAST_SLOW_TURN" help:"Log the stack of an event loop that is busy with one callback for longer than this, or off."`
}

// limits reads all flags.
func (f *limitFlags) limits(c *checker) (l loop.Limits) {
	flags, limits := reflect.ValueOf(f).Elem(), reflect.ValueOf(&l).Elem()
	for i := range flags.NumField() {
		field := flags.Type().Field(i)
		c.limit(field.Tag, flags.Field(i).String(), limits.FieldByName(field.Name))
	}
	if l.Fast && l.History > 0 {
		c.wrong("mode", f.Fast, "does not go together with --history: what is fast is not kept; leave one of them off, or say them of kinds of groups in the config file")
	}
	l.Kinds = c.kinds(kindOfFlags(&l))
	if l.ProxyProtocol && len(l.TrustedProxies) == 0 {
		c.wrong("proxy-protocol", f.ProxyProtocol, "needs the addresses of the proxies that send the header; name them with --trusted-proxies")
	}
	return l
}

// limit reads one flag as the value of its tag says.
func (c *checker) limit(tag reflect.StructTag, text string, into reflect.Value) {
	flag := tag.Get("name")
	switch kind, least, most, word := valueOf(tag); kind {
	case "size":
		into.SetInt(c.sizeOr(flag, text, word, fixedSize(least), fixedSize(most)))
	case "count", "duration", "words":
		if mend := readValue(tag, text, into); mend != "" {
			c.wrong(flag, text, "%s", mend)
		}
	case "memory":
		into.SetInt(c.memory(flag, text, fixedSize(least), fixedSize(most)))
	case "origins":
		into.Set(reflect.ValueOf(c.origins(flag, text)))
	case "tokens":
		into.Set(reflect.ValueOf(c.subprotocols(flag, text)))
	case "proxies":
		into.Set(reflect.ValueOf(c.proxies(flag, text)))
	default:
		panic("--" + flag + ": unknown kind of value " + kind)
	}
}

// readValue reads a text as the tag of a flag for a count, a duration or a word says; mend says what is wrong with it, and how to mend it.
func readValue(tag reflect.StructTag, text string, into reflect.Value) (mend string) {
	switch kind, least, most, word := valueOf(tag); kind {
	case "count":
		n, mend := readCount(text, word, int(fixedSize(least)), int(fixedSize(most)))
		into.SetInt(int64(n))
		return mend
	case "duration":
		d, mend := readDuration(text, word, fixedDuration(least), fixedDuration(most))
		into.SetInt(int64(d))
		return mend
	case "words":
		n, mend := readWord(text, wordsOf(tag))
		if into.Kind() == reflect.Bool {
			into.SetBool(n == 1)
		} else {
			into.SetUint(uint64(n))
		}
		return mend
	default:
		panic("--" + tag.Get("name") + ": no count, no duration and no word but " + kind)
	}
}

// valueText is the text that readValue reads as a value: what an operator writes for it.
func valueText(tag reflect.StructTag, value reflect.Value) string {
	switch kind, _, _, word := valueOf(tag); {
	case kind == "words" && value.Kind() == reflect.Bool && value.Bool():
		return wordsOf(tag)[1]
	case kind == "words" && value.Kind() == reflect.Bool:
		return wordsOf(tag)[0]
	case kind == "words":
		return wordsOf(tag)[value.Uint()]
	case kind == "duration":
		return DurationText(time.Duration(value.Int()))
	case value.IsZero() && word != "":
		return word
	default:
		return fmt.Sprint(value.Int())
	}
}

// wordsOf are the words of a tag value of that kind; - stands where a value has none.
func wordsOf(tag reflect.StructTag) []string { return strings.Fields(tag.Get("value"))[1:] }

// valueOf is a tag value, word by word.
func valueOf(tag reflect.StructTag) (kind, least, most, word string) {
	words := append(strings.Fields(tag.Get("value")), "", "", "", "")
	return words[0], words[1], words[2], words[3]
}

// fixedSize reads a size or a number in a tag.
func fixedSize(text string) int64 {
	n, err := parseSize(text)
	if err != nil {
		panic("not a size: " + text)
	}
	return n
}

// fixedDuration reads a duration in a tag.
func fixedDuration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic("not a duration: " + text)
	}
	return d
}

// memory is the memory limit in bytes, 0 for off.
func (c *checker) memory(flag, value string, least, most int64) int64 {
	switch value {
	case "off":
		return 0
	case "auto":
		return c.g.reading.Memory
	}
	return c.sizeOr(flag, value, "auto or off", least, most)
}
