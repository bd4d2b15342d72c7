package api

import (
	"log/slog"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ringcast/loop"
)

// Metrics are read from the hub's own counters at each scrape: nothing of Prometheus runs in a loop. They are labelled by
// loop and by what the program can enumerate, never by group or client, whose number is unbounded.

// scrapesMax bounds the scrapes under way at once; further ones get 503.
const scrapesMax = 4

func metricsHandler(cfg Config) http.Handler {
	return promhttp.HandlerFor(registry(cfg), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // mostly scrapers that hang up
		MaxRequestsInFlight: scrapesMax,
	})
}

// registry has the metrics of ringcast, of the Go runtime and of the process. Those of the runtime are read without stopping
// the world.
func registry(cfg Config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringcast_build_info", Help: "1, labelled with the versions of ringcast and of Go it was built with.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	r.MustRegister(build, hubCollector{cfg.Hub}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(cfg.More...)
	if cfg.Cluster != nil {
		r.MustRegister(clusterCollector{cfg.Cluster})
	}
	return r
}

// figure is a field that is a metric, or one of the fields that are one metric with different labels.
type figure struct {
	field   int
	desc    *prometheus.Desc
	kind    prometheus.ValueType
	perLoop bool
	label   string // the value of the label; "": there is none, or the field is a map by label
}

// The metrics follow from the tags on the fields of package loop, see loop.LoopStats. Fields of a loop that are signed go up
// and down, and have a value for each loop; the others count, and have the sum.
var (
	ofServer = figuresOf(reflect.TypeFor[loop.Snapshot](), false)
	ofLoops  = figuresOf(reflect.TypeFor[loop.LoopStats](), true)
	ofTime   = figuresOf(reflect.TypeFor[loop.Histograms](), false)
)

func figuresOf(t reflect.Type, loops bool) (all []figure) {
	descs := map[string]*prometheus.Desc{}
	for i := range t.NumField() {
		field, tag := t.Field(i), t.Field(i).Tag
		name := tag.Get("prom")
		if name == "" || name == "-" {
			continue
		}
		f := figure{field: i, kind: prometheus.CounterValue}
		var labels []string
		if field.Type.Kind() == reflect.Int || field.Type.Kind() == reflect.Int64 {
			f.kind, f.perLoop = prometheus.GaugeValue, loops && tag.Get("per") != "server"
		}
		if f.perLoop {
			labels = append(labels, "loop")
		}
		if label, value, _ := strings.Cut(tag.Get("label"), "="); label != "" {
			labels, f.label = append(labels, label), value
		}
		if descs[name] == nil {
			descs[name] = prometheus.NewDesc(name, tag.Get("help"), labels, nil)
		}
		f.desc = descs[name]
		all = append(all, f)
	}
	return all
}

// hubCollector turns a hub's counters into metrics.
type hubCollector struct{ hub Hub }

// Describe is part of prometheus.Collector.
func (c hubCollector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range slices.Concat(ofServer, ofLoops, ofTime) {
		out <- f.desc
	}
}

// Collect is part of prometheus.Collector.
func (c hubCollector) Collect(out chan<- prometheus.Metric) {
	snap := c.hub.Snapshot()
	for _, f := range ofServer {
		f.collect(reflect.ValueOf(snap), out)
	}
	total := reflect.ValueOf(snap.Total())
	for _, f := range ofLoops {
		if !f.perLoop {
			f.collect(total, out)
			continue
		}
		for i := range snap.Loops {
			f.collect(reflect.ValueOf(snap.Loops[i]), out, strconv.Itoa(i))
		}
	}
	hists := reflect.ValueOf(c.hub.Histograms())
	for _, f := range ofTime {
		f.collect(hists, out)
	}
}

// collect gives the values of a figure of one struct. labels are the first ones, without the figure's own.
func (f *figure) collect(of reflect.Value, out chan<- prometheus.Metric, labels ...string) {
	if f.label != "" {
		labels = append(labels, f.label)
	}
	give := func(n float64, labels ...string) { out <- prometheus.MustNewConstMetric(f.desc, f.kind, n, labels...) }
	switch n := of.Field(f.field).Interface().(type) {
	case int:
		give(float64(n), labels...)
	case int64:
		give(float64(n), labels...)
	case uint64:
		give(float64(n), labels...)
	case map[string]uint64:
		for kind, n := range n {
			give(float64(n), append(labels, kind)...)
		}
	case loop.Histogram:
		out <- prometheus.MustNewConstHistogram(f.desc, n.Count, n.Sum, n.Buckets)
	}
}
