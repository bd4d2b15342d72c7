package settings

import (
	"net"
	"path/filepath"
	"strings"
	"time"

	"ringcast/bus"
)

// channelFlags are the flags of start for the processes of a Workerman system: bus.Config as an operator writes it.
type channelFlags struct {
	Channel        string `name:"channel" default:"off" placeholder:"ADDR" env:"RINGCAST_CHANNEL" help:"Be a Workerman Channel server on this address, such as 127.0.0.1:2206 or unix:/run/channel.sock. The protocol has no authentication: whoever reaches it can publish to every group."`
	ChannelConnect string `name:"channel-connect" default:"off" placeholder:"ADDR" env:"RINGCAST_CHANNEL_CONNECT" help:"Be a client of the Workerman Channel server on this address, instead of being one."`
	ChannelAllow   string `name:"channel-allow" default:"" placeholder:"CIDR,…" env:"RINGCAST_CHANNEL_ALLOW" help:"Addresses and networks that may connect to --channel. Default: all."`
	ChannelName    string `name:"channel-name" default:"send_to_group" env:"RINGCAST_CHANNEL_NAME" help:"The channel whose events {group_id, message} are messages of groups."`

	ChannelFrameMax         string `name:"channel-frame-max" default:"10MiB" env:"RINGCAST_CHANNEL_FRAME_MAX" help:"Largest frame of the Channel protocol; a client that sends a larger one is closed."`
	ChannelFramesMax        string `name:"channel-frames-max" default:"64MiB" env:"RINGCAST_CHANNEL_FRAMES_MAX" help:"Bytes of frames over 64 KiB being received at once; beyond it they wait for each other. One frame is always received."`
	ChannelFrameTimeout     string `name:"channel-frame-timeout" default:"2m" env:"RINGCAST_CHANNEL_FRAME_TIMEOUT" help:"Time for a frame of a Channel client to be complete, from its header; a client that takes longer is closed."`
	ChannelClientsMax       string `name:"channel-clients-max" default:"1024" env:"RINGCAST_CHANNEL_CLIENTS_MAX" help:"Channel clients; beyond it new ones are refused."`
	ChannelSubscriptionsMax string `name:"channel-subscriptions-max" default:"10000" env:"RINGCAST_CHANNEL_SUBSCRIPTIONS_MAX" help:"Channels and queues that one Channel client may be subscribed to; beyond it the client is closed."`
	ChannelQueueMax         string `name:"channel-queue-max" default:"100000" env:"RINGCAST_CHANNEL_QUEUE_MAX" help:"Jobs that may wait in one queue; beyond it the client that enqueues is closed."`
	ChannelQueueBytesMax    string `name:"channel-queue-bytes-max" default:"64MiB" env:"RINGCAST_CHANNEL_QUEUE_BYTES_MAX" help:"Bytes that may wait in all queues together; beyond it the client that enqueues is closed."`
	ChannelOutboundMax      string `name:"channel-outbound-max" default:"16MiB" env:"RINGCAST_CHANNEL_OUTBOUND_MAX" help:"Bytes that may wait for one slow Channel client; beyond it the client is closed."`
	ChannelOutboundsMax     string `name:"channel-outbounds-max" default:"128MiB" env:"RINGCAST_CHANNEL_OUTBOUNDS_MAX" help:"Bytes that may wait for all Channel clients together, an event for many counted once; beyond it the client with the most bytes waiting is closed. A value below --channel-outbound-max or --channel-frame-max counts as that."`
	ChannelBufferMax        string `name:"channel-buffer-max" default:"16MiB" env:"RINGCAST_CHANNEL_BUFFER_MAX" help:"With --channel-connect: bytes that may wait for the Channel server while it is disconnected or slow; beyond it events are refused and counted."`
}

// Bounds on what an operator may set, for the reasons given in limits.go.
const (
	channelBytesMin, channelBytesTop = 1 << 10, 1 << 30
	channelCountTop                  = 10_000_000
	channelTimeMin, channelTimeTop   = time.Second, 24 * time.Hour
)

// channel is the configuration of the bus; its zero value: no bus.
func (f *channelFlags) channel(c *checker) bus.Config {
	cfg := bus.Config{
		Listen:           c.channelAddr("channel", f.Channel),
		Connect:          c.channelAddr("channel-connect", f.ChannelConnect),
		Allow:            c.networks("channel-allow", f.ChannelAllow),
		Bridge:           f.ChannelName,
		FrameBytesMax:    c.size("channel-frame-max", f.ChannelFrameMax, channelBytesMin, channelBytesTop),
		FramesBytesMax:   c.size("channel-frames-max", f.ChannelFramesMax, channelBytesMin, channelBytesTop),
		FrameTimeout:     c.duration("channel-frame-timeout", f.ChannelFrameTimeout, channelTimeMin, channelTimeTop),
		ClientsMax:       c.count("channel-clients-max", f.ChannelClientsMax, "", 1, channelCountTop),
		SubscriptionsMax: c.count("channel-subscriptions-max", f.ChannelSubscriptionsMax, "", 1, channelCountTop),
		QueueJobsMax:     c.count("channel-queue-max", f.ChannelQueueMax, "", 1, channelCountTop),
		QueueBytesMax:    c.size("channel-queue-bytes-max", f.ChannelQueueBytesMax, channelBytesMin, channelBytesTop),
		OutboundBytesMax: c.size("channel-outbound-max", f.ChannelOutboundMax, channelBytesMin, channelBytesTop),
		OutboundsMax:     c.size("channel-outbounds-max", f.ChannelOutboundsMax, channelBytesMin, channelBytesTop),
		BufferBytesMax:   c.size("channel-buffer-max", f.ChannelBufferMax, channelBytesMin, channelBytesTop),
	}
	switch {
	case cfg.Listen != "" && cfg.Connect != "":
		c.wrong("channel-connect", f.ChannelConnect, "does not go together with --channel: events would loop forever; leave one of them off. "+
			"Several servers share their groups when one has --channel and the others --channel-connect to it")
	case cfg.Listen == "" && len(cfg.Allow) > 0:
		c.wrong("channel-allow", f.ChannelAllow, "restricts --channel, which is off; set --channel too")
	case strings.HasPrefix(cfg.Listen, "unix:") && len(cfg.Allow) > 0:
		c.wrong("channel-allow", f.ChannelAllow, "has no effect on a unix socket; restrict access by the permissions of its directory")
	case f.ChannelName == "" || len(f.ChannelName) > 255:
		c.wrong("channel-name", f.ChannelName, "must be a name of 1 to 255 bytes")
	}
	if cfg.Listen == "" && cfg.Connect == "" {
		return bus.Config{}
	}
	return cfg
}

// SocketPathMax is the room for a path in sockaddr_un, less the final zero (unix(7)); 108 on Linux.
const SocketPathMax = 107

// channelAddr is an address for a Channel link, empty for off.
func (c *checker) channelAddr(flag, value string) string {
	if value == "off" {
		return ""
	}
	path, unix := strings.CutPrefix(value, "unix:")
	if !unix {
		c.listen(flag, value)
		if host, port, _ := net.SplitHostPort(value); flag == "channel-connect" && (host == "" || port == "0") {
			c.wrong(flag, value, "does not name a server; write HOST:PORT, such as 127.0.0.1:2206, or unix:/PATH")
		}
		return value
	}
	if path = strings.TrimPrefix(path, "//"); !filepath.IsAbs(path) || len(path) > SocketPathMax {
		c.wrong(flag, value, "is not the path of a socket; write unix:/PATH, of at most %d bytes", SocketPathMax)
	}
	return "unix:" + path
}
