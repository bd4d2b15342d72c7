package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"ringcast/loop"
)

// fakeHub answers as the test sets it.
type fakeHub struct {
	snap  loop.Snapshot
	hists loop.Histograms
}

func (h *fakeHub) Snapshot() loop.Snapshot     { return h.snap }
func (h *fakeHub) Histograms() loop.Histograms { return h.hists }

func someHub() *fakeHub {
	one := loop.Histogram{Count: 3, Sum: 5.5, Buckets: map[float64]uint64{1: 1, 2: 2}}
	row := func(clients int64) loop.LoopStats {
		return loop.LoopStats{
			Clients: clients, Pending: 1, Members: 5, Homes: 2, Deliveries: 100, SlowClosed: 1,
			Handshakes: map[string]uint64{"ok": 7, "bad": 1}, Tokens: map[string]uint64{"accepted": 1}, TLSHandshakes: map[string]uint64{"ok": 2}, Signatures: map[string]uint64{"bad": 1}, RefusedBy: map[string]uint64{"busy": 4},
			RefusedClientsBy: map[string]uint64{"clients": 1}, ProtocolErrorsBy: map[string]uint64{"1002": 1},
			Closes: map[string]uint64{"1001": 2},
		}
	}
	return &fakeHub{
		snap:  loop.Snapshot{ClientsMax: 100, AcceptErrors: 9, Loops: []loop.LoopStats{row(2), row(3)}},
		hists: loop.Histograms{Batches: one, PassTimes: one, TurnTimes: one, LaneWaits: one},
	}
}

func config(h Hub) Config {
	return Config{Hub: h, Version: "1.2.3", Log: slog.New(slog.DiscardHandler)}
}

// served is an admin side and where it is.
type served struct {
	*Admin
	addr string
}

func serve(t *testing.T, cfg Config) served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := Serve(l, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		a.Close(ctx)
	})
	return served{a, l.Addr().String()}
}

func get(t *testing.T, a served, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	res, err := client.Get("http://" + a.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestMetricsSayWhatTheHubCounts(t *testing.T) {
	_, text := get(t, serve(t, config(someHub())), "/metrics")
	for _, want := range []string{
		`ringcast_connections{loop="0",state="open"} 2`, `ringcast_connections{loop="1",state="handshake"} 1`,
		`ringcast_connections_max 100`, `ringcast_members{loop="1"} 5`, `ringcast_groups 4`, `ringcast_deliveries_total 200`,
		`ringcast_handshakes_total{outcome="ok"} 14`, `ringcast_refused_total{reason="busy"} 8`,
		`ringcast_refused_connections_total{reason="clients"} 2`, `ringcast_closes_total{code="1001"} 4`,
		`ringcast_protocol_errors_total{code="1002"} 2`, `ringcast_slow_clients_total{policy="close"} 2`,
		`ringcast_accept_errors_total 9`, `ringcast_build_info{go_version="go`, `version="1.2.3"} 1`,
		`ringcast_lane_wait_seconds_bucket{le="2"} 2`, `ringcast_lane_wait_seconds_bucket{le="+Inf"} 3`, `ringcast_turn_duration_seconds_sum 5.5`,
		"go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics: want %s in\n%s", want, text)
		}
	}
}

// Each in turn is the only one that is not zero. Package loop has the other half: what a metric's name is and a help text.
func TestEveryFigureIsInTheMetricThatItNames(t *testing.T) {
	rows := reflect.TypeFor[loop.LoopStats]()
	for i := range rows.NumField() {
		field := rows.Field(i)
		name := field.Tag.Get("prom")
		if name == "-" {
			continue
		}
		h := someHub()
		var want []float64
		h.snap.Loops = make([]loop.LoopStats, 2)
		for l := range h.snap.Loops {
			n := 1001 * (l + 1)
			switch f := reflect.ValueOf(&h.snap.Loops[l]).Elem().Field(i); f.Kind() {
			case reflect.Int64:
				f.SetInt(int64(n))
				want = append(want, float64(n))
			case reflect.Uint64:
				f.SetUint(uint64(n))
				want = []float64{3003}
			case reflect.Map:
				f.Set(reflect.ValueOf(map[string]uint64{"some": uint64(n)}))
				want = []float64{3003}
			}
		}
		if field.Tag.Get("per") == "server" { // groups, which in a total are those that have a home
			h.snap.Loops[0].Homes, want = 3003, []float64{3003}
		}
		var got []float64
		families, err := registry(config(h)).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != name {
				continue
			}
			if (f.GetType().String() == "GAUGE") != (field.Type.Kind() == reflect.Int64) {
				t.Errorf("%s: got %s of type %v", field.Name, name, f.GetType())
			}
			for _, m := range f.Metric {
				if n := m.GetGauge().GetValue() + m.GetCounter().GetValue(); n > 0 {
					got = append(got, n)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v in %s, want %v", field.Name, got, name, want)
		}
	}
}

// promlint's rules are Prometheus' own for names, units and help texts.
func TestMetricsKeepToPrometheusConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry(config(someHub())))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A metric labelled with a group's name or a client's address would grow without bound.
func TestMetricsAreLabelledByWhatCanBeCounted(t *testing.T) {
	families, err := registry(config(someHub())).Gather()
	if err != nil {
		t.Fatal(err)
	}
	may := []string{"loop", "state", "outcome", "reason", "code", "policy", "result"}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "ringcast_") || f.GetName() == "ringcast_build_info" {
			continue
		}
		if f.GetHelp() == "" {
			t.Errorf("%s: got no help text", f.GetName())
		}
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(may, l.GetName()) {
					t.Errorf("%s: got label %s, want one of %v", f.GetName(), l.GetName(), may)
				}
			}
		}
	}
}

func TestEveryMetricOfTheDashboardExistsAndEveryMetricHasItsPanel(t *testing.T) {
	var board struct {
		Templating struct {
			List []struct{ Name, Type string }
		}
		Panels []struct {
			ID      int
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(dashboard, &board); err != nil {
		t.Fatal(err)
	}
	if v := board.Templating.List[0]; v.Name != "datasource" || v.Type != "datasource" {
		t.Errorf("first variable: got %+v, want the data source, by which the dashboard fits any Grafana", v)
	}
	cfg := config(someHub())
	cfg.More = append(cfg.More, NewPublic(PublicConfig{Log: cfg.Log}), NewServer(ServerConfig{Keys: &Keys{}}), NewPusher(PusherConfig{}))
	cfg.Cluster = someCluster
	families, err := registry(cfg).Gather()
	if err != nil {
		t.Fatal(err)
	}
	exists, ours := map[string]bool{}, map[string]bool{}
	for _, f := range families {
		exists[f.GetName()] = true
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			exists[f.GetName()+suffix] = f.GetType().String() == "HISTOGRAM" || f.GetType().String() == "SUMMARY" && suffix != "_bucket"
		}
		if name := f.GetName(); strings.HasPrefix(name, "ringcast_") && name != "ringcast_build_info" {
			ours[name] = true
		}
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %d: got its number twice", p.ID)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			names := regexp.MustCompile(`\b(?:ringcast|go|process)_\w+`).FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("expression %q: got no metric in it", target.Expr)
			}
			for _, name := range names {
				if !exists[name] && !strings.HasPrefix(name, "ringcast_channel_") && !strings.HasPrefix(name, "ringcast_webhook_") &&
					!strings.HasPrefix(name, "ringcast_tls_certificate_") && name != "ringcast_redirect_requests_total" && name != "ringcast_reloads_total" && name != "ringcast_jwks_fetches_total" && name != "ringcast_log_dropped_lines_total" { // made elsewhere
					t.Errorf("expression %q: got %s, which /metrics does not have", target.Expr, name)
				}
				delete(ours, name)
				delete(ours, strings.TrimSuffix(name, "_bucket"))
			}
		}
	}
	if len(ours) > 0 {
		t.Errorf("metrics without a panel: %v", slices.Sorted(maps.Keys(ours)))
	}
	if _, body := get(t, serve(t, config(someHub())), "/dashboard.json"); body != string(dashboard) {
		t.Errorf("/dashboard.json: got %.60q…, want the dashboard", body)
	}
}

func TestReadinessSaysWhyNot(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for _, c := range []struct {
		name   string
		change func(*loop.Snapshot)
		want   string
	}{
		{"at peace", func(*loop.Snapshot) {}, ""},
		{"stopping", func(s *loop.Snapshot) { s.Stopping = true }, "stopping"},
		{"one place left", func(s *loop.Snapshot) { s.Loops[0].Clients = 94 }, ""},
		{"full", func(s *loop.Snapshot) { s.Loops[0].Clients = 95 }, "connections: 100 of at most 100"},
		{"full with those that left their loops", func(s *loop.Snapshot) { s.Loops[0].Clients, s.Departed = 90, 5 }, "connections: 100 of at most 100"},
		{"just now an accept failed", func(s *loop.Snapshot) { s.AcceptFailed = now.Add(-9 * time.Second) }, "could not be accepted"},
		{"short of memory", func(s *loop.Snapshot) { s.MemoryPressure, s.MemoryUsed, s.MemoryLimit = "refuse", 90, 100 }, "90 bytes count against the limit of 100"},
		{"memory enough", func(s *loop.Snapshot) { s.MemoryPressure = "none" }, ""},
		{"long ago an accept failed", func(s *loop.Snapshot) { s.AcceptFailed = now.Add(-11 * time.Second) }, ""},
	} {
		h := someHub()
		c.change(&h.snap)
		w := httptest.NewRecorder()
		(&readiness{hub: h, now: func() time.Time { return now }}).ServeHTTP(w, nil)
		want := http.StatusOK
		if c.want != "" {
			want = http.StatusServiceUnavailable
		}
		if w.Code != want || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: got %d %q, want %d with %q", c.name, w.Code, w.Body, want, c.want)
		}
	}
	w := httptest.NewRecorder()
	(&readiness{hub: someHub(), now: time.Now, note: func() []string { return []string{"a certificate ends soon"} }}).ServeHTTP(w, nil)
	if w.Code != http.StatusOK || w.Body.String() != "ready\nWARNING: a certificate ends soon\n" {
		t.Errorf("with something to tell: got %d %q, want 200 with it", w.Code, w.Body)
	}
	a := serve(t, config(someHub()))
	a.Unready("the server stops in an orderly way")
	if status, body := get(t, a, "/readyz"); status != 503 || !strings.Contains(body, "orderly") {
		t.Errorf("told that it is not: got %d %q, want 503 and why", status, body)
	}
	if status, _ := get(t, a, "/healthz"); status != 200 {
		t.Errorf("healthz of a server that is not ready: got %d, want 200", status)
	}
}

func TestProfilesAreForThisMachineAndNoWebPage(t *testing.T) {
	lo, all := tcp("127.0.0.1"), tcp("0.0.0.0")
	for _, c := range []struct {
		name       string
		addr       net.Addr
		everywhere bool
		host, site string
		want       int
	}{
		{"loopback by address", lo, false, "127.0.0.1:1235", "", 200},
		{"IPv6 loopback by address", tcp("::1"), false, "[::1]:1235", "", 200},
		{"loopback by localhost", lo, false, "localhost:1235", "none", 200},
		{"a link on our own index", lo, false, "localhost:1235", "same-origin", 200},
		{"loopback by a stranger's name", lo, false, "rebind.example.org:1235", "", 403},
		{"a page of another site", lo, false, "127.0.0.1:1235", "cross-site", 403},
		{"all addresses", all, false, "127.0.0.1:1235", "", 403},
		{"all addresses, allowed", all, true, "ringcast.internal:1235", "", 200},
		{"allowed, but a page of another site", all, true, "ringcast.internal:1235", "cross-site", 403},
	} {
		r := httptest.NewRequest("GET", "/debug/pprof/", nil)
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		profiles(c.addr, c.everywhere).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: got %d %.80q, want %d", c.name, w.Code, w.Body, c.want)
		}
	}
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 1235} }

func TestConnectionsBeyondTheBoundWaitTheirTurn(t *testing.T) {
	a := serve(t, config(someHub()))
	var idle []net.Conn
	for range connectionsMax {
		c, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// It was answered, so it has been accepted, and with keep-alive it keeps its place.
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		answer(t, c, 10*time.Second)
		idle = append(idle, c)
	}
	late, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	io.WriteString(late, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
	late.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := late.Read(make([]byte, 1)); err == nil {
		t.Errorf("one connection beyond the bound: got %d bytes of an answer, want it to wait", n)
	}
	idle[0].Close()
	answer(t, late, 10*time.Second)
}

// slowHub makes requests for its histograms wait.
type slowHub struct {
	*fakeHub
	asked, goOn chan struct{}
}

func (h slowHub) Histograms() loop.Histograms {
	h.asked <- struct{}{}
	<-h.goOn
	return h.fakeHub.Histograms()
}

func TestScrapesBeyondTheBoundAreRefused(t *testing.T) {
	h := slowHub{someHub(), make(chan struct{}), make(chan struct{})}
	a := serve(t, config(h))
	statuses := make(chan int, scrapesMax)
	for range scrapesMax {
		go func() {
			status, _ := get(t, a, "/metrics")
			statuses <- status
		}()
		<-h.asked
	}
	if status, _ := get(t, a, "/metrics"); status != 503 {
		t.Errorf("one scrape beyond the bound: got %d, want 503", status)
	}
	close(h.goOn)
	for range scrapesMax {
		if status := <-statuses; status != 200 {
			t.Errorf("scrapes within the bound: got %d, want 200", status)
		}
	}
}

func answer(t *testing.T, c net.Conn, patience time.Duration) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for buf := make([]byte, 1024); !bytes.Contains(got, []byte("ok\n")); {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("got %q and %v, want an answer", got, err)
		}
	}
}

// heldHub answers when it may.
type heldHub struct {
	*fakeHub
	asked, may chan struct{}
}

func (h *heldHub) Snapshot() loop.Snapshot {
	h.asked <- struct{}{}
	<-h.may
	return h.fakeHub.Snapshot()
}

func TestAnAddressThatIsGivenUpIsFreeWhileAnAnswerIsUnderWay(t *testing.T) {
	h := &heldHub{someHub(), make(chan struct{}, 1), make(chan struct{})}
	a := serve(t, config(h))
	answered := make(chan int, 1)
	go func() {
		status := 0
		if res, err := http.Get("http://" + a.addr + "/readyz"); err == nil {
			status = res.StatusCode
			res.Body.Close()
		}
		answered <- status
	}()
	<-h.asked
	a.Withdraw()
	next, err := net.Listen("tcp", a.addr)
	if err != nil {
		t.Errorf("the next server: %v", err)
	} else {
		next.Close()
	}
	close(h.may)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answer that was under way: got %d, want 200", status)
	}
}
