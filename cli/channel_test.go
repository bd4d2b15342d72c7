package cli

import (
	"net"
	"testing"

	"ringcast/bus"
)

func TestChannelIsShownAsServerAndAsClient(t *testing.T) {
	b := banner{version: "0.1.0", golang: "go1.26.0", kernel: "Linux 6.1.0", pid: 4711, listen: []net.Addr{tcp("0.0.0.0")}, loops: 8,
		clientsMax: 1_000_000, channel: "tcp://0.0.0.0:2206", warnings: []string{"The Channel port is open."}, note: "Start success."}
	n := &bus.Stats{Mode: "server", Addr: "0.0.0.0:2206", Clients: 8, Subscriptions: 9, Queues: 2, Jobs: 1_000, WaitingBytes: 2 << 20,
		EventsIn: 10, EventsOut: 80, Published: 7, Refused: map[string]uint64{"queue": 1, "group": 2},
		Closed: map[string]uint64{"outbound": 3}, RefusedClients: map[string]uint64{"clients": 4}}
	golden(t, "channel-server.txt", b.text()+channelText(n))
	b.channel, b.warnings = clientOf+"192.0.2.1:2206", nil
	n = &bus.Stats{Mode: "client", Addr: "192.0.2.1:2206", Connected: true, Reconnects: 5, Lost: 6, EventsIn: 10, EventsOut: 80, Published: 7}
	golden(t, "channel-client.txt", b.text()+channelText(n))
	n.Connected = false
	has(t, "a server that is away", channelText(n), "disconnected")
	if got := channelText(nil); got != "" {
		t.Errorf("without a Channel link: got %q, want nothing", got)
	}
}
