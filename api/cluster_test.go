package api

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// someCluster is a cluster as one of its three nodes sees it, with a different number in every place.
func someCluster() *ClusterStatus {
	s := &ClusterStatus{
		Name: "chat", Node: "n1", Ready: true,
		Nodes: []ClusterNode{{Name: "n1", Up: true}, {Name: "n2", Up: true, Seen: time.Unix(1_000_000, 0)}, {Name: "n3"}},
		Partitions: []ClusterPartition{{Leader: "n1", Tip: 1, Lag: 2, Queued: 3, Flying: 4}, {Leader: "n2", Lag: 5, Queued: 6, Flying: 7}, {Leader: "n2"},
			{Leader: "n3"}, {Leader: ""}, {Leader: ""}},
		Refused: map[string]uint64{"busy": 201, "unknown": 202},
	}
	n := uint64(100)
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Uint64 {
			n++
			f.SetUint(n)
		}
	}
	return s
}

func TestMetricsSayWhatTheClusterSays(t *testing.T) {
	cfg := config(someHub())
	cfg.Cluster = someCluster
	_, text := get(t, serve(t, cfg), "/metrics")
	for _, want := range []string{
		`cluster_ready 1`, `cluster_nodes{state="up"} 2`, `cluster_nodes{state="down"} 1`, `cluster_partitions{state="led_here"} 1`,
		`cluster_partitions{state="led_elsewhere"} 3`, `cluster_partitions{state="without_leader"} 2`, `cluster_lag_messages 7`,
		`cluster_waiting_publishes{state="queued"} 9`, `cluster_waiting_publishes{state="flying"} 11`,
		`cluster_refused_total{reason="busy"} 201`, `cluster_refused_total{reason="unknown"} 202`,
	} {
		if !strings.Contains(text, "\nringcast_"+want+"\n") {
			t.Errorf("metrics: want %s in\n%s", want, text)
		}
	}
	// Every number is somewhere, so none was forgotten.
	s := reflect.ValueOf(someCluster()).Elem()
	for i := range s.NumField() {
		if f := s.Field(i); f.Kind() == reflect.Uint64 {
			n := f.Uint()
			if s.Type().Field(i).Name == "Recalls" {
				n = 0 // it is less than those that failed here
			}
			if !strings.Contains(text, " "+jsonText(n)+"\n") {
				t.Errorf("%s: got no metric with its %d", s.Type().Field(i).Name, n)
			}
		}
	}
	if _, text := get(t, serve(t, config(someHub())), "/metrics"); strings.Contains(text, "ringcast_cluster_") {
		t.Error("without a cluster: got metrics of one")
	}
}

func jsonText(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

func TestMetricsOfTheClusterKeepToPrometheusConventions(t *testing.T) {
	cfg := config(someHub())
	cfg.Cluster = someCluster
	problems, err := testutil.GatherAndLint(registry(cfg))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTheAdminPageIsToldOfTheCluster(t *testing.T) {
	cfg := consoleConfig(&watched{fakeHub: someHub()})
	ask := func(path string) (int, string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		handler(tcp("127.0.0.1"), &Admin{ready: &readiness{hub: cfg.Hub, now: time.Now}, over: make(chan struct{})}, cfg).ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	if code, _ := ask("/console/cluster"); code != 400 {
		t.Errorf("without a cluster: got %d, want 400", code)
	}
	if _, body := ask("/console/now"); !strings.Contains(body, `"cluster":false`) {
		t.Errorf("without a cluster: got %s, want that there is none", body)
	}
	cfg.Cluster = someCluster
	code, body := ask("/console/cluster")
	var got ClusterStatus
	if err := json.Unmarshal([]byte(body), &got); code != 200 || err != nil || !reflect.DeepEqual(jsonText(got), jsonText(someCluster())) {
		t.Errorf("got %d, %s, %v, want all of it", code, body, err)
	}
	if _, body := ask("/console/now"); !strings.Contains(body, `"cluster":true`) {
		t.Errorf("got %s, want that there is a cluster", body)
	}
}

func TestReadinessHeedsTheCluster(t *testing.T) {
	cfg := config(someHub())
	var over atomic.Bool
	const why = "the cluster is not ready: it is cut off"
	cfg.Trouble = func() string {
		if over.Load() {
			return ""
		}
		return why
	}
	a := serve(t, cfg)
	if code, body := get(t, a, "/readyz"); code != 503 || body != "not ready: "+why+"\n" {
		t.Errorf("in trouble: got %d %q, want 503 and why", code, body)
	}
	over.Store(true)
	if code, _ := get(t, a, "/readyz"); code != 200 {
		t.Errorf("when it is over: got %d, want 200", code)
	}
}
