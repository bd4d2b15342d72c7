package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"gonum.org/v1/plot/text"
)

// curve is a server's line.
type curve struct {
	server string
	points [][2]float64
	label  string
	dots   bool // the points were measured, the line between them was not
}

// axis is one direction of a chart.
type axis struct {
	name        string
	least, most float64
	logged      bool
	ticks       []float64
	text        func(float64) string
}

func (a axis) share(v float64) float64 {
	if a.logged {
		return math.Log(v/a.least) / math.Log(a.most/a.least)
	}
	return (v - a.least) / (a.most - a.least)
}

const (
	chartHeight = 400.0 // pixels
	labelPitch  = 16.0  // of the names at the lines' ends
	// tailSamples: a percentile is drawn only if this many deliveries lie beyond it; fewer are chance.
	tailSamples = 10
	tailMax     = 4.0  // nines of the highest percentile that is drawn: 99.99
	tailStep    = 0.02 // of a nine: closer than a pixel
	// curvesLogged: from this ratio of the highest value to the lowest on, the low lines would coincide on an axis from 0.
	curvesLogged = 8.0
)

// latencySheet draws the whole distribution: medians hide the long waits of users.
func latencySheet(g *group, looks map[string]look) (*sheet, error) {
	var curves []curve
	var left []string
	for _, w := range g.rows {
		sum, err := w.histogram()
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", g.load, w.server, err)
		}
		if sum == nil {
			if _, void := w.split(latencyTail); len(void) > 0 {
				left = append(left, w.server)
			}
			continue
		}
		c := curve{server: w.server}
		most := min(math.Log10(float64(sum.TotalCount())/tailSamples), tailMax)
		for nines := 0.0; nines <= most+1e-9; nines += tailStep {
			at := sum.ValueAtPercentile(100 * (1 - math.Pow(10, -nines)))
			if nines == 0 {
				at = sum.Min() // the first value above is that of no delivery at all
			}
			v := milliseconds(at)
			c.points = append(c.points, [2]float64{nines, max(v, 1e-3)}) // the histograms' unit is a microsecond
		}
		if len(c.points) < 2 {
			continue
		}
		c.label = w.server + "  " + digits(c.points[len(c.points)-1][1])
		curves = append(curves, c)
	}
	if len(curves) == 0 {
		return nil, nil
	}
	x := axis{name: "percentile of deliveries, each step to the right is ten times rarer", most: 0, text: func(nines float64) string {
		return strconv.FormatFloat(100*(1-math.Pow(10, -nines)), 'f', max(0, int(math.Round(nines))-2), 64) + " %"
	}}
	for _, c := range curves {
		x.most = max(x.most, c.points[len(c.points)-1][0])
	}
	for nines := 0.0; nines <= x.most+0.01; nines++ {
		x.ticks = append(x.ticks, nines)
	}
	y := valueAxis("ms", curves)
	s := &sheet{name: "latency " + g.load, title: "Latency by percentile: " + g.load,
		subtitle: "ms from the write (closed loop) to the read at each member; lower is better; all rounds together",
		remarks:  []string{fmt.Sprintf("A line ends where fewer than %d deliveries lie beyond it; the figure at its end is the value there.", tailSamples)}}
	if g.openLoop() {
		s.subtitle = "ms from the due time (open loop) to the read at each member; lower is better; all rounds together"
	}
	if y.logged {
		s.remarks[0] += " The upright axis is logarithmic."
	}
	if len(left) > 0 {
		s.remarks = append(s.remarks, "Left out, since the generator was full or late (VOID): "+strings.Join(left, ", ")+".")
	}
	return s.chart(curves, x, y, looks), nil
}

// histogram adds up a server's rounds; nil: all of them are void.
func (w *row) histogram() (*hdrhistogram.Histogram, error) {
	var sum *hdrhistogram.Histogram
	for _, r := range w.fine {
		if r.Fanout == nil || r.Fanout.Histogram == "" || latencyVoid(r) {
			continue
		}
		h, err := decodeHistogram(r.Fanout.Histogram)
		if err != nil {
			return nil, err
		}
		if sum == nil {
			sum = h
			continue
		}
		if dropped := sum.Merge(h); dropped > 0 {
			return nil, fmt.Errorf("latency histograms of different bounds: %s deliveries do not fit", Count(dropped))
		}
	}
	return sum, nil
}

// decodeHistogram turns the decoder's panic at invalid input into an error: the decoder does not check lengths.
func decodeHistogram(encoded string) (h *hdrhistogram.Histogram, err error) {
	defer func() {
		if p := recover(); p != nil {
			h, err = nil, fmt.Errorf("latency histogram: %v", p)
		}
	}()
	if h, err = hdrhistogram.Decode([]byte(encoded)); err != nil {
		return nil, fmt.Errorf("latency histogram: %w", err)
	}
	return h, nil
}

// memorySheet shows the memory of a client: by the number of clients if there were several numbers, else as bars.
func memorySheet(all []*group, looks map[string]look) *sheet {
	s := &sheet{name: "memory", title: "Server memory per client", subtitle: "growth of resident memory over idle clients that joined, kB for each; kernel socket buffers are not in it; less is better"}
	type size struct {
		server  string
		clients float64
	}
	grown := map[size][]float64{}
	numbers := map[string]map[float64]bool{}
	var panels []panel
	rounds := false
	for _, g := range all {
		if !g.opening {
			continue
		}
		p := panel{load: g.load, axis: "kB/client"}
		for _, w := range g.rows {
			for _, r := range w.fine {
				clients, err := strconv.ParseFloat(r.flag("clients"), 64)
				if v := memoryEach.of(r); err == nil && clients > 0 && !math.IsNaN(v) {
					grown[size{w.server, clients}] = append(grown[size{w.server, clients}], v/1e3)
					if numbers[w.server] == nil {
						numbers[w.server] = map[float64]bool{}
					}
					numbers[w.server][clients] = true
				}
			}
			var each []float64
			for _, v := range w.values(memoryEach) {
				each = append(each, v/1e3)
			}
			if len(each) > 0 {
				p.bars = append(p.bars, bar{server: w.server, value: newSpread(each), label: digits(newSpread(each).median()) + " kB"})
				rounds = rounds || len(each) > 1
			}
		}
		slices.SortStableFunc(p.bars, func(a, b bar) int { return cmp.Compare(a.value.median(), b.value.median()) })
		panels = append(panels, p)
	}
	var curves []curve
	several := false
	for _, server := range sortedKeys(numbers) {
		c := curve{server: server, dots: true}
		for _, clients := range sortedKeys(numbers[server]) {
			c.points = append(c.points, [2]float64{clients, newSpread(grown[size{server, clients}]).median()})
		}
		several = several || len(c.points) > 1
		c.label = server + "  " + digits(c.points[len(c.points)-1][1])
		curves = append(curves, c)
	}
	if !several {
		s.remarks = rangeRemark(rounds)
		return s.bars(panels)
	}
	x := axis{name: "clients", least: math.Inf(1), logged: true, text: func(v float64) string { return Count(int64(v)) }}
	for _, c := range curves {
		for _, q := range c.points {
			x.least, x.most = min(x.least, q[0]), max(x.most, q[0])
			if !slices.Contains(x.ticks, q[0]) {
				x.ticks = append(x.ticks, q[0])
			}
		}
	}
	slices.Sort(x.ticks)
	s.remarks = []string{"Points: medians of the rounds; the figure at a line's end is its last one."}
	y := valueAxis("kB/client", curves)
	if y.logged {
		s.remarks[0] += " Both axes are logarithmic."
	}
	return s.chart(curves, x, y, looks)
}

// valueAxis goes from 0, unless the lines are too far apart for that.
func valueAxis(name string, curves []curve) axis {
	y := axis{name: name, least: math.Inf(1), text: tickText}
	for _, c := range curves {
		for _, q := range c.points {
			y.least, y.most = min(y.least, q[1]), max(y.most, q[1])
		}
	}
	if y.most > curvesLogged*y.least {
		y.logged = true
		y.least, y.most = y.least/1.15, y.most*1.15
		y.ticks = logTicks(y.least, y.most)
		return y
	}
	y.least, y.most = 0, y.most*1.05
	y.ticks = evenTicks(y.most, 7)
	return y
}

func (s *sheet) chart(curves []curve, x, y axis, looks map[string]look) *sheet {
	if s.height == 0 {
		s.height = chartHeight
	}
	// The bound on labels is for files in which a server has a very long name.
	names := 0.0
	for _, c := range curves {
		names = max(names, min(textWidth(c.label, boldFont), nameMax+50))
	}
	const foot = 46.0 // ticks and the axis' name
	s.height = max(s.height, labelPitch*float64(len(curves))+foot+20)
	s.body = func(pen *pen, top float64) {
		left, right := sheetMargin+52, sheetWidth-sheetMargin-names-34
		upper, lower := top+18, top+s.height-foot
		placeX := func(v float64) float64 { return left + (right-left)*x.share(v) }
		placeY := func(v float64) float64 { return lower - (lower-upper)*y.share(v) }
		pen.write(left-8, upper-8, y.name, smallFont, faint, text.XRight)
		for _, tick := range y.ticks {
			pen.line(grid, 1, nil, [2]float64{left, placeY(tick)}, [2]float64{right, placeY(tick)})
			pen.write(left-8, placeY(tick)+4, y.text(tick), smallFont, faint, text.XRight)
		}
		for i, tick := range x.ticks {
			pen.line(grid, 1, nil, [2]float64{placeX(tick), upper}, [2]float64{placeX(tick), lower + 4})
			if i > 0 && placeX(tick)-placeX(x.ticks[i-1]) < 40 {
				continue // its number would stand in the one before
			}
			pen.write(placeX(tick), lower+18, x.text(tick), smallFont, faint, text.XCenter)
		}
		pen.write((left+right)/2, lower+38, x.name, smallFont, faint, text.XCenter)
		pen.line(faint, 1, nil, [2]float64{left, lower}, [2]float64{right, lower})

		// Ours is drawn last, above the others.
		slices.SortStableFunc(curves, func(a, b curve) int { return b2i(isOurs(a.server)) - b2i(isOurs(b.server)) })
		ends := make([]float64, len(curves))
		for i, c := range curves {
			look := looks[c.server]
			points := make([][2]float64, len(c.points))
			for n, q := range c.points {
				points[n] = [2]float64{placeX(q[0]), placeY(q[1])}
				if c.dots {
					pen.dot(points[n][0], points[n][1], look.width+1, look.colour)
				}
			}
			pen.line(look.colour, look.width, look.dashes, points...)
			ends[i] = points[len(points)-1][1]
		}
		for i, y := range apart(ends, labelPitch, upper, lower) {
			c := curves[i]
			look, weight := looks[c.server], plainFont
			if isOurs(c.server) {
				weight = boldFont
			}
			end := placeX(c.points[len(c.points)-1][0])
			pen.line(look.colour, 0.75, []float64{1, 2}, [2]float64{end + 3, ends[i]}, [2]float64{right + 6, ends[i]}, [2]float64{right + 18, y})
			pen.line(look.colour, look.width, look.dashes, [2]float64{right + 18, y}, [2]float64{right + 30, y})
			pen.write(right+34, y+4.5, fitted(c.label, weight, sheetWidth-right-34-4), weight, ink, text.XLeft)
		}
	}
	return s
}

// apart moves heights apart until each has its pitch, within bounds if there is room for all, and keeps their order.
func apart(want []float64, pitch, upper, lower float64) []float64 {
	order := make([]int, len(want))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(want[a], want[b]) })
	placed := slices.Clone(want)
	for n, i := range order {
		placed[i] = max(placed[i], upper)
		if n > 0 {
			placed[i] = max(placed[i], placed[order[n-1]]+pitch)
		}
	}
	limit := lower
	for _, i := range slices.Backward(order) {
		placed[i] = min(placed[i], limit)
		limit = placed[i] - pitch
	}
	return placed
}
