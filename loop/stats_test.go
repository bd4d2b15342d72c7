package loop

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ringcast/loop/order"
	"unsafe"
)

// Package api has the other half: what is named here as a metric is one.
func TestEveryFigureSaysHowItIsShown(t *testing.T) {
	counted, shown := reflect.TypeFor[counters](), reflect.TypeFor[LoopStats]()
	keys := map[string]bool{}
	for i := range shown.NumField() {
		f := shown.Field(i)
		live, _ := counted.FieldByName(f.Name)
		elsewhere := live.Type == reflect.TypeFor[elsewhere]()
		key, name, label, sum := f.Tag.Get("json"), f.Tag.Get("prom"), f.Tag.Get("label"), f.Tag.Get("sum")
		if key == "" || keys[key] {
			t.Errorf("%s: got the key %q in status --json, want one of its own", f.Name, key)
		}
		keys[key] = true
		if !strings.HasPrefix(name, "ringcast_") && !(name == "-" && elsewhere) {
			t.Errorf("%s: got metric %q, want a name, or - where others say it", f.Name, name)
		}
		if total := f.Type.Kind() != reflect.Int64; name != "-" && total != strings.HasSuffix(name, "_total") {
			t.Errorf("%s, metric %q: want _total at its end if and only if it never falls", f.Name, name)
		}
		if help := f.Tag.Get("help"); !strings.HasSuffix(help, ".") {
			t.Errorf("%s: got help %q, want a sentence", f.Name, help)
		}
		if live.Type == reflect.TypeFor[tally]() && (label == "" || tags[i].kinds == nil) {
			t.Errorf("%s: got label %q and kinds %q, want a label and an enumeration", f.Name, label, f.Tag.Get("kinds"))
		}
		if sum == "" {
			continue
		}
		if !elsewhere || tags[i].sum == nil {
			t.Fatalf("%s: got the sum of %q, want it of a tally, and not counted besides", f.Name, sum)
		}
		for _, kind := range tags[i].of {
			if names := *tags[tags[i].sum[0]].kinds; !slices.Contains(names, kind) {
				t.Errorf("%s: got the sum of %q, want of some of %q", f.Name, sum, names)
			}
		}
	}
}

func TestWhatALoopCountsIsInItsRowTheTotalAndStatus(t *testing.T) {
	h := newHub(2, defaultBounds())
	h.homes.Hash = func(group string) uint64 { return uint64(group[0] - '0') }
	// Values differ from field to field, and those of the second loop from those of the first.
	for l, s := range h.shards {
		live := reflect.ValueOf(&s.count.figures).Elem()
		for i := range live.NumField() {
			switch n := live.Field(i).Addr().Interface().(type) {
			case *atomic.Int64:
				n.Store(int64(1000*l + i + 1))
			case *atomic.Uint64:
				n.Store(uint64(1000*l + i + 1))
			case *tally:
				for kind := range n.of {
					n.of[kind].Store(uint64(1000*l + i + 1))
				}
			}
		}
		s.relief.outboxes.Store(int64(1000*l + 500))
		for i := range 2 * (l + 1) {
			s.lanes.Offer(l, request{Op: order.OpJoin, Local: &group{name: fmt.Sprintf("%d-%d", l, i)}})
		}
		for range 3 + 2*l {
			m, _ := order.NewMessage([]byte(fmt.Sprintf("%d-x", l)), nil, nil, false)
			s.lanes.Offer(l, request{Op: order.OpPublish, Message: m})
		}
		s.lanes.Host()
		s.lanes.Drain(nil, func(delivery) bool { return true })
	}
	snap := h.Snapshot()
	text, err := json.Marshal(struct {
		Snapshot
		Total LoopStats `json:"total"`
	}{snap, snap.Total()})
	if err != nil {
		t.Fatal(err)
	}
	type row map[string]json.RawMessage
	var status struct {
		Loops []row `json:"loops"`
		Total row   `json:"total"`
	}
	if err := json.Unmarshal(text, &status); err != nil {
		t.Fatal(err)
	}
	shown := reflect.TypeFor[LoopStats]()
	for i := range shown.NumField() {
		a, b := int64(i+1), int64(1000+i+1)
		f := shown.Field(i)
		switch f.Name {
		case "OutboxBytes":
			a, b = 500, 1500
		case "Homes":
			a, b = 2, 4
		case "Published":
			a, b = 3, 5
		case "LaneDepth": // the lanes are empty
			a, b = 0, 0
		}
		total := a + b
		if f.Name == "Groups" { // one with members on both loops is one
			total = 2 + 4
		}
		if of := tags[i]; of.sum != nil {
			kinds := len(of.of)
			if kinds == 0 {
				kinds = len(*tags[of.sum[0]].kinds)
			}
			a, b = int64(kinds*(of.sum[0]+1)), int64(kinds*(1000+of.sum[0]+1))
			total = a + b
		}
		for at, c := range []struct {
			row  row
			want int64
		}{{status.Loops[0], a}, {status.Loops[1], b}, {status.Total, total}} {
			place := []string{"loop 0", "loop 1", "total"}[at]
			key := f.Tag.Get("json")
			if f.Type.Kind() != reflect.Map {
				var got int64
				if err := json.Unmarshal(c.row[key], &got); err != nil || got != c.want {
					t.Errorf("%s of %s: got %s (%v), want %d", key, place, c.row[key], err, c.want)
				}
				continue
			}
			var got map[string]int64
			if err := json.Unmarshal(c.row[key], &got); err != nil || len(got) != len(*tags[i].kinds) {
				t.Errorf("%s of %s: got %s (%v), want each of %q", key, place, c.row[key], err, *tags[i].kinds)
			}
			for kind, n := range got {
				if n != c.want {
					t.Errorf("%s.%s of %s: got %d, want %d", key, kind, place, n, c.want)
				}
			}
		}
	}
}

// Shards are allocated one by one, so it is their neighbours within the shard that matter; bells are no part of it.
func TestCountersShareNoCacheLineWithWhatOtherLoopsWrite(t *testing.T) {
	var s shard
	last := unsafe.Offsetof(s.count.RefusedBy)
	if after := unsafe.Offsetof(s.calls) - unsafe.Offsetof(s.count) - last; after < order.CacheLine {
		t.Errorf("got %d bytes from the counters to the call list, want %d", after, order.CacheLine)
	}
}
