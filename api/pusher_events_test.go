package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"ringcast/loop"
	"ringcast/loop/door"
)

func TestAnEventThatIsNotAcceptedEverywhereSaysWhere(t *testing.T) {
	for _, c := range []struct {
		channels string
		status   int
		retry    string
		want     string
		said     []string // where it is
	}{
		{`"busy"`, 503, "1", `{"error":"too many requests: the server is too busy to accept this now"}`, nil},
		{`"loud"`, 503, "1", `{"error":"too many requests: the server is too busy to accept this now"}`, nil},
		{`"apart"`, 503, "1", `{"error":"too many requests: too few machines of the cluster can be reached, and nothing was sent"}`, nil},
		{`"minority"`, 503, "1", `{"error":"too many requests: too few machines of the cluster can be reached, and nothing was sent"}`, nil},
		{`"stopping"`, 503, "1", `{"error":"too many requests: the server is stopping"}`, nil},
		{`"closed"`, 503, "1", `{"error":"too many requests: the server is stopping"}`, nil},
		{`"stopped"`, 504, "", `{"error":"it is not known whether the event was sent"}`, nil},
		{`"slow"`, 504, "", `{"error":"it is not known whether the event was sent"}`, nil},
		{`"panic"`, 504, "", `{"error":"it is not known whether the event was sent"}`, nil},
		{`"broken"`, 500, "", `{"error":"internal server error"}`, nil},
		{`"bad"`, 400, "", `{"error":"the name of the channel is longer than --group-name-max allows"}`, nil},
		{`"long"`, 413, "", `{"error":"data are more than --message-max allows"}`, nil},
		{`"a","loud","b","busy"`, 503, "1", `{"error":"too many requests: the server is too busy to accept this now","refused":["loud","busy"]}`, []string{"a", "b"}},
		{`"long","a"`, 413, "", `{"error":"data are more than --message-max allows","refused":["long"]}`, []string{"a"}},
		{`"long","a","busy"`, 503, "1", `{"error":"too many requests: the server is too busy to accept this now","refused":["long","busy"]}`, []string{"a"}},
		{`"busy","slow","a"`, 504, "", `{"error":"it is not known whether the event was sent","refused":["busy"],"unknown":["slow"]}`, []string{"a"}},
	} {
		p := newPusherTest(t)
		r := pusherAsks(pusherTestApps[0], "POST", "/apps/3/events", `{"name":"e","data":"x","channels":[`+c.channels+`],"info":"subscription_count"}`)
		status, answer, header := p.answer(r)
		if status != c.status || answer != c.want || header.Get("Retry-After") != c.retry {
			t.Errorf("%s: got %d %q %s, want %d %q %s", c.channels, status, header.Get("Retry-After"), answer, c.status, c.retry, c.want)
		}
		for _, channel := range c.said {
			if len(p.said[channel]) != 1 {
				t.Errorf("%s: said %v, want it in %s", c.channels, p.said, channel)
			}
		}
	}
	p := newPusherTest(t)
	batch := `{"batch":[{"name":"e","data":"x","channel":"a"},{"name":"e","data":"x","channel":"busy"},{"name":"e","data":"x","channel":"slow"}]}`
	if status, answer := p.ask("POST", "/apps/3/batch_events", batch); status != 504 || answer != `{"error":"it is not known whether the event was sent","refused":[2],"unknown":[3]}` {
		t.Errorf("a batch: got %d %s", status, answer)
	}
}

// Nothing is told as an event that could not be counted: it is sent, and would be sent again.
func TestAnEventIsAcceptedAlsoWhereNobodyCanBeCounted(t *testing.T) {
	p := newPusherTest(t)
	p.cfg.Backend = uncounting{p.fakeBackend}
	status, answer := p.ask("POST", "/apps/3/events", `{"name":"e","data":"x","channels":["a","b"],"info":"subscription_count"}`)
	if want := `{"channels":{"a":{"subscription_count":7},"b":{}}}`; status != 200 || answer != want {
		t.Errorf("got %d %s, want %s", status, answer, want)
	}
	for _, target := range []string{"/apps/3/channels/b", "/apps/3/channels?filter_by_prefix=presence-&info=user_count", "/apps/3/channels/presence-b/users"} {
		p.said["presence-b"] = nil
		if status, answer := p.ask("GET", target, ""); status != 503 {
			t.Errorf("%s: got %d %s, want 503", target, status, answer)
		}
	}
}

// uncounting is a backend that does not answer who is in b.
type uncounting struct{ *fakeBackend }

func (b uncounting) Presence(ctx context.Context, group string) (*Past, error) {
	if strings.HasSuffix(group, "b") {
		return nil, context.DeadlineExceeded
	}
	return b.fakeBackend.Presence(ctx, group)
}

func TestWhatOnlySomeMachinesHaveAnsweredIsSaidToBeSo(t *testing.T) {
	p := newPusherTest(t)
	p.some = &loop.Partly{Nodes: 3, Answered: 2}
	p.nodes = []loop.NodeInfo{{Clients: 6}, {Clients: 1}}
	p.said["a"] = nil
	for _, c := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/apps/3/channels", 200, `{"channels":{"a":{}},"nodes":3,"answered":2}`},
		{"GET", "/apps/3/channels/a?info=subscription_count", 200, `{"occupied":true,"subscription_count":7}`},
		{"GET", "/apps/3/connections", 200, `{"connections":7,"nodes":3,"answered":2}`},
		{"POST", "/apps/3/users/ann/terminate_connections", 503, `{"error":"the user's connections are closed on 2 of 3 machines, the others have not answered; ask again"}`},
	} {
		if status, answer := p.ask(c.method, c.target, ""); status != c.status || answer != c.want {
			t.Errorf("%s: got %d %s, want %d %s", c.target, status, answer, c.status, c.want)
		}
	}
}

func TestEventsOfOneRequestAreUnderWayTogetherAndWithinAWindow(t *testing.T) {
	var names []string
	for i := range door.AppChannelsMax {
		names = append(names, fmt.Sprintf(`"c%d"`, i))
	}
	for _, c := range []struct {
		bytes, full int // of the event; offers that are refused while others are under way
		most        int
	}{{1, 0, windowMax}, {1, 30, windowMax}, {100 << 10, 0, 2}, {100 << 10, 10, 2}} {
		p := newPusherTest(t)
		p.full = c.full
		body := `{"name":"e","channels":[` + strings.Join(names, ",") + `],"data":"` + strings.Repeat("x", c.bytes) + `"}`
		if status, answer := p.ask("POST", "/apps/3/events", body); status != 200 || len(p.said) != door.AppChannelsMax {
			t.Errorf("%+v: got %d %s, said in %d channels", c, status, answer, len(p.said))
		}
		if c.full == 0 && p.most != c.most || p.most > c.most || p.begun != 0 {
			t.Errorf("%+v: got %d under way at a time and %d at the end, want %d and none", c, p.most, p.begun, c.most)
		}
	}
	p := newPusherTest(t)
	p.cfg.Wait = time.Minute
	p.ask("POST", "/apps/3/events", `{"name":"e","channel":"a","data":""}`)
	if left := time.Until(p.until); left < time.Minute {
		t.Errorf("a cluster's word is waited for %s, want longer than its own bound", left)
	}
}

func TestWhatBackendsOfPusherAskIsCounted(t *testing.T) {
	p := newPusherTest(t)
	p.ask("POST", "/apps/3/events", `{"name":"e","channel":"a","data":""}`)
	p.ask("POST", "/apps/3/events", `{"name":"e","channel":"busy","data":""}`)
	p.ask("GET", "/apps/3/channels", ``)
	p.answer(&pusherRequest{method: http.MethodGet, path: "/apps/3/channels", app: door.App{Key: "k"}, query: map[string]string{}})
	want := `# HELP ringcast_pusher_request_errors_total Requests to the HTTP API of the Pusher protocol that were not answered with 200, by status; 401 is a request that no app has signed.
# TYPE ringcast_pusher_request_errors_total counter
ringcast_pusher_request_errors_total{status="400"} 0
ringcast_pusher_request_errors_total{status="401"} 1
ringcast_pusher_request_errors_total{status="404"} 0
ringcast_pusher_request_errors_total{status="405"} 0
ringcast_pusher_request_errors_total{status="413"} 0
ringcast_pusher_request_errors_total{status="500"} 0
ringcast_pusher_request_errors_total{status="503"} 1
ringcast_pusher_request_errors_total{status="504"} 0
# HELP ringcast_pusher_requests_total Signed requests to the HTTP API of the Pusher protocol by what they ask.
# TYPE ringcast_pusher_requests_total counter
ringcast_pusher_requests_total{call="batch_events"} 0
ringcast_pusher_requests_total{call="channel"} 0
ringcast_pusher_requests_total{call="channels"} 1
ringcast_pusher_requests_total{call="connections"} 0
ringcast_pusher_requests_total{call="events"} 2
ringcast_pusher_requests_total{call="terminate_connections"} 0
ringcast_pusher_requests_total{call="users"} 0
`
	r := prometheus.NewRegistry()
	r.MustRegister(p.Pusher)
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
