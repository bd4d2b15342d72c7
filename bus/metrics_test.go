package bus

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsSayWhatIsCounted(t *testing.T) {
	b := startBus(t, Config{})
	c := b.subscriber("news")
	c.say(verb("publish", "news", "i:1;"), verb("enqueue", "q", "i:1;"), verb("enqueue", "q", "i:2;"), frame("a:0:{}"))
	c.hear(event("news", "i:1;"))
	b.eventually("all is counted", func(s Stats) bool { return s.Refused["unknown"] == 1 })
	if err := testutil.CollectAndCompare(b.Bus, strings.NewReader(`
# HELP ringcast_channel_clients Channel clients.
# TYPE ringcast_channel_clients gauge
ringcast_channel_clients 1
# HELP ringcast_channel_events_sent_total Events for Channel clients, one per receiver, or for the Channel server.
# TYPE ringcast_channel_events_sent_total counter
ringcast_channel_events_sent_total 1
# HELP ringcast_channel_jobs Jobs that wait in queues.
# TYPE ringcast_channel_jobs gauge
ringcast_channel_jobs 2
# HELP ringcast_channel_refused_clients_total Channel clients that were not let in, by reason.
# TYPE ringcast_channel_refused_clients_total counter
ringcast_channel_refused_clients_total{reason="address"} 0
ringcast_channel_refused_clients_total{reason="clients"} 0
`), "ringcast_channel_clients", "ringcast_channel_events_sent_total", "ringcast_channel_jobs", "ringcast_channel_refused_clients_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(b.Bus)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
	if err := prometheus.NewRegistry().Register(b.Bus); err != nil {
		t.Error(err)
	}
}
