package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot/text"
)

// What compression saves, by the size of messages: the verb sizes.

// Names of the server in the runs of sizes, which are all against one server.
const (
	Compressed   = "compressed"
	Uncompressed = "uncompressed"
)

// saving is the runs of one size.
type saving struct {
	size      float64
	with, and [2]spread // bytes and µs of a delivery: with compression, and without
}

// savings are a file's, by size; those that have both.
func savings(f *File) (all []saving) {
	values := map[float64]*[2][2][]float64{}
	for _, r := range f.Runs {
		size, err := strconv.ParseFloat(r.flag("size"), 64)
		if r.Verb != "sizes" || !r.Fine || err != nil {
			continue
		}
		if values[size] == nil {
			values[size] = &[2][2][]float64{}
		}
		at := &values[size][b2i(r.Server == Compressed)]
		for i, f := range []figure{wireEach, cpuPerDelivery} {
			if v := f.of(r); !math.IsNaN(v) {
				at[i] = append(at[i], v)
			}
		}
	}
	for _, size := range sortedKeys(values) {
		v := values[size]
		s := saving{size, [2]spread{newSpread(v[1][0]), newSpread(v[1][1])}, [2]spread{newSpread(v[0][0]), newSpread(v[0][1])}}
		if len(s.with[0]) > 0 && len(s.and[0]) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// savingCells is a table of them, the heading first; nil: there are none.
func savingCells(all []saving) [][]string {
	if len(all) == 0 {
		return nil
	}
	cells := [][]string{{"text bytes", "wire bytes/delivery", Compressed, "×", "server µs/delivery", Compressed, "×"}}
	for _, s := range all {
		line := []string{Count(int64(s.size))}
		for i := range s.with {
			line = append(line, s.and[i].String(), s.with[i].String(), digits(s.with[i].median()/s.and[i].median()))
		}
		cells = append(cells, line)
	}
	return cells
}

// savingsSheet draws bytes and CPU of a delivery, one above the other.
func savingsSheet(f *File) *sheet {
	all := savings(f)
	if len(all) < 2 {
		return nil
	}
	x := axis{name: "bytes of a message's text", least: all[0].size, most: all[len(all)-1].size, logged: true, text: func(v float64) string { return Count(int64(v)) }}
	for _, s := range all {
		x.ticks = append(x.ticks, s.size)
	}
	chart := func(i int, unit string) *sheet {
		var curves []curve
		for _, server := range []string{Uncompressed, Compressed} {
			c := curve{server: server, dots: true}
			for _, s := range all {
				v := s.and[i]
				if server == Compressed {
					v = s.with[i]
				}
				if len(v) > 0 {
					c.points = append(c.points, [2]float64{s.size, v.median()})
				}
			}
			if len(c.points) < 2 {
				return nil
			}
			c.label = server + "  " + digits(c.points[len(c.points)-1][1])
			curves = append(curves, c)
		}
		return (&sheet{height: savingsHeight}).chart(curves, x, valueAxis(unit, curves), savingsLooks)
	}
	s := &sheet{name: "compression", title: "What compression saves, by the size of messages",
		subtitle: "fan-out of JSON to members who all compress, beside the same to members who do not; lower is better"}
	var charts []*sheet
	for i, c := range []*sheet{chart(0, "bytes"), chart(1, "µs")} {
		if c != nil {
			c.title = []string{"Bytes on the wire of a delivery", "Server CPU of a delivery, the compressing included"}[i]
			charts = append(charts, c)
			s.height += headingHeight + c.height
		}
	}
	if len(charts) == 0 {
		return nil
	}
	s.remarks = []string{fmt.Sprintf("%s members; points are medians of the rounds; axes may be logarithmic. Bytes are those of frames, and of TLS records if any, without TCP and IP.", f.runOf("sizes").flag("members"))}
	s.body = func(pen *pen, top float64) {
		for _, c := range charts {
			pen.write(sheetMargin, top+16, c.title, loadFont, ink, text.XLeft)
			c.body(pen, top+headingHeight)
			top += headingHeight + c.height
		}
	}
	return s
}

var savingsLooks = map[string]look{Compressed: {oursColour, 3, nil}, Uncompressed: {othersColours[0], 1.75, nil}}

const (
	savingsHeight = 280.0 // pixels of one of the two charts
	headingHeight = 26.0
)

// runOf is the first run of a verb. There is one.
func (f *File) runOf(verb string) *Run {
	return f.Runs[slices.IndexFunc(f.Runs, func(r *Run) bool { return r.Verb == verb })]
}
