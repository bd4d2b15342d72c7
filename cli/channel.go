package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/bus"
	"ringcast/cli/settings"
)

// openChannel starts the bus, on a socket that was handed in if there is one; nil where it is off.
func openChannel(cfg bus.Config, socket net.Listener, h hub, log *slog.Logger) (*bus.Bus, error) {
	if cfg.Listen == "" && cfg.Connect == "" {
		return nil, nil
	}
	feed, err := h.NewFeed()
	if err != nil {
		return nil, err
	}
	cfg.Log, cfg.Listener = log, socket
	channel, err := bus.Start(cfg, feed)
	if err != nil {
		return nil, channelError(cfg.Listen, err)
	}
	if warning := channelWarning(cfg, channel); warning != "" {
		log.Warn(warning, "addr", channel.Addr())
	}
	return channel, nil
}

// channelError is why the bus cannot listen.
func channelError(listen string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("--channel %q: another program has this address, perhaps the Channel server that this one is to replace; stop it or name another address", listen)
	}
	return fmt.Errorf("--channel %q: %w", listen, err)
}

// channelWarning is for an operator whose Channel port is reachable from other machines.
func channelWarning(cfg bus.Config, channel *bus.Bus) string {
	if channel == nil || cfg.Listen == "" || !bus.Exposed(channel.Addr()) {
		return ""
	}
	if len(cfg.Allow) > 0 {
		return "The Channel port is open to other machines and has no authentication: every address in --channel-allow can publish to every group."
	}
	return "The Channel port is open to other machines and has no authentication: whoever reaches it can publish to every group; restrict it with --channel-allow."
}

// channelPatience is how long a stop waits for Channel clients to receive what is queued. They are on a near network.
const channelPatience = time.Second

// closeChannel ends the bus when the loops have settled what they had accepted; its clients have so long to take what is queued.
func closeChannel(channel *bus.Bus, patience time.Duration, log *slog.Logger) {
	if channel == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := channel.Close(ctx); err != nil && patience > 0 {
		log.Warn("the Channel link was closed before everything was written", "err", err)
	}
}

// laterChannel has the metrics of a bus that is opened after the admin address. It describes none, as there may never be one.
type laterChannel struct{ is *atomic.Pointer[bus.Bus] }

// Describe is part of prometheus.Collector.
func (l laterChannel) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (l laterChannel) Collect(out chan<- prometheus.Metric) {
	if channel := l.is.Load(); channel != nil {
		channel.Collect(out)
	}
}

// withdrawChannel gives up the address of a Channel server.
func withdrawChannel(channel *bus.Bus) {
	if channel != nil {
		channel.Withdraw()
	}
}

const clientOf = "client of "

// channelAddr is what the banner shows of the bus.
func channelAddr(channel *bus.Bus) string {
	switch {
	case channel == nil:
		return ""
	case channel.Stats().Mode == "client":
		return clientOf + channel.Addr()
	case strings.HasPrefix(channel.Addr(), "unix:"):
		return channel.Addr()
	default:
		return "tcp://" + channel.Addr()
	}
}

// channelStatus is the part of a status that is about the bus; nil where it is off.
func channelStatus(channel *bus.Bus) *bus.Stats {
	if channel == nil {
		return nil
	}
	stats := channel.Stats()
	return &stats
}

// channelText is the part of a status text that is about the bus; empty where it is off.
func channelText(n *bus.Stats) string {
	if n == nil {
		return ""
	}
	t := &table{columns: []column{{"channel", false}, {"address", false}}}
	row := []string{n.Mode, n.Addr}
	add := func(title, text string) {
		t.columns = append(t.columns, column{title, true})
		row = append(row, text)
	}
	if n.Mode == "client" {
		state := "disconnected"
		if n.Connected {
			state = "connected"
		}
		add("state", state)
		add("reconnects", countText(n.Reconnects))
		add("lost", countText(n.Lost))
	} else {
		add("clients", countText(n.Clients))
		add("subscriptions", countText(n.Subscriptions))
		add("queues", countText(n.Queues))
		add("jobs", countText(n.Jobs))
		add("cut off", countText(sum(n.Closed)+sum(n.RefusedClients)))
	}
	add("waiting", settings.SizeText(int64(n.WaitingBytes)))
	add("events in", countText(n.EventsIn))
	add("events out", countText(n.EventsOut))
	add("published", countText(n.Published))
	add("refused", countText(sum(n.Refused)))
	t.rows = [][]string{row}
	return tablePart("CHANNEL", t)
}

func sum(by map[string]uint64) (all uint64) {
	for _, n := range by {
		all += n
	}
	return all
}
