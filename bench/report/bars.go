package report

import (
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/text"
)

// bar is a server's figure under one load: its median, and its range as a whisker.
type bar struct {
	server string
	value  spread
	label  string
	floor  bool // the value is a lower bound
}

// panel is the bars of one load.
type panel struct {
	load string
	axis string // what the ticks count
	bars []bar
}

const (
	panelHead  = 30.0
	panelFoot  = 26.0 // ticks
	panelSpace = 16.0
	barHeight  = 15.0
	barPitch   = 22.0
	nameMax    = 210.0 // pixels of a server's name
	barsLogged = 100.0 // ratio of the largest to the smallest value from which on the shortest bar would be a few pixels
)

func cpuSheet(name string, all []*group, opening bool) *sheet {
	s := &sheet{name: name, title: "Server CPU per delivery", subtitle: "user and system time of the server in µs for each delivered message; shorter is better"}
	if opening {
		s.title, s.subtitle = "Server CPU per handshake", "user and system time of the server in µs for each client that was opened and joined; shorter is better"
	}
	var panels []panel
	rounds := false
	for _, g := range all {
		if g.opening != opening || g.coming || g.many {
			continue
		}
		p := panel{load: g.load, axis: "µs"}
		if g.ceiling != nil {
			p.axis = "× ceiling"
		}
		for _, w := range g.rows {
			cost := w.values(g.cpu())
			if len(cost) == 0 {
				continue
			}
			b := bar{server: w.server, value: cost, label: digits(cost.median()) + " µs"}
			if g.ceiling != nil {
				b.value = w.shares(g.cpu(), g.ceiling)
				b.label = fmt.Sprintf("%s ×  (%s µs)", digits(b.value.median()), digits(cost.median()))
			}
			rounds = rounds || len(cost) > 1
			p.bars = append(p.bars, b)
		}
		panels = append(panels, p)
	}
	s.remarks = append(rangeRemark(rounds), "× ceiling: the least that a server can do for this load on this machine is 1, measured in the same rounds.")
	if !slices.ContainsFunc(panels, func(p panel) bool { return p.axis == "× ceiling" }) {
		s.remarks = rangeRemark(rounds)
	}
	return s.bars(panels)
}

func deliveriesSheet(all []*group) *sheet {
	s := &sheet{name: "deliveries", title: "Deliveries per second", subtitle: "closed loop: messages that reached a member, each counted once; longer is better"}
	var panels []panel
	rounds, floors := false, false
	for _, g := range all {
		if g.openLoop() || g.many {
			continue // it is what was asked for
		}
		p := panel{load: g.load, axis: "deliveries/s"}
		for _, w := range g.rows {
			good, void := w.split(deliveries)
			values := newSpread(slices.Concat(good, void))
			if len(values) == 0 {
				continue
			}
			b := bar{server: w.server, value: values, label: digits(values.median())}
			if len(void) > 0 {
				b.floor, b.label, floors = true, "≥ "+b.label, true
			}
			rounds = rounds || len(values) > 1
			p.bars = append(p.bars, b)
		}
		panels = append(panels, p)
	}
	s.remarks = rangeRemark(rounds)
	if floors {
		s.remarks = append(s.remarks, "≥, hollow: the generator was the limit (VOID); the server can do at least so much.")
	}
	return s.bars(panels)
}

func rangeRemark(rounds bool) []string {
	if !rounds {
		return nil
	}
	return []string{"Bars: medians of the rounds. Whiskers: the least and the most of them."}
}

// bars makes a sheet of panels, nil if there is nothing to show.
func (s *sheet) bars(panels []panel) *sheet {
	panels = slices.DeleteFunc(panels, func(p panel) bool { return len(p.bars) == 0 })
	if len(panels) == 0 {
		return nil
	}
	for i, p := range panels {
		s.height += panelHead + barPitch*float64(len(p.bars)) + panelFoot
		if i > 0 {
			s.height += panelSpace
		}
	}
	names := 0.0 // the same for all panels, so that their axes stand below each other
	for _, p := range panels {
		for _, b := range p.bars {
			names = max(names, min(textWidth(b.server, boldFont), nameMax))
		}
		if _, _, logged := p.extent(); logged {
			s.remarks = append(s.remarks, p.load+": the axis is logarithmic.")
		}
	}
	s.body = func(pen *pen, top float64) {
		for _, p := range panels {
			top = p.draw(pen, top, sheetMargin+names+10) + panelSpace
		}
	}
	return s
}

// extent is the range of the axis: from 0, so that lengths can be compared, unless that would hide all but one.
func (p panel) extent() (least, most float64, logged bool) {
	least = math.Inf(1)
	for _, b := range p.bars {
		least, most = min(least, b.value.median()), max(most, b.value.most())
	}
	if most > barsLogged*least {
		return least / 2, most, true
	}
	return 0, most, false
}

// draw returns the panel's lower edge.
func (p panel) draw(pen *pen, top, left float64) float64 {
	labels := 0.0
	for _, b := range p.bars {
		labels = max(labels, textWidth(b.label, boldFont))
	}
	right := sheetWidth - sheetMargin - labels - 12
	least, most, logged := p.extent()
	place := func(v float64) float64 { return left + (right-left)*(v-least)/(most-least) }
	ticks := evenTicks(most, 6)
	if logged {
		place = func(v float64) float64 { return left + (right-left)*math.Log(max(v, least)/least)/math.Log(most/least) }
		ticks = logTicks(least, most)
	}
	pen.write(sheetMargin, top+16, fitted(p.load, loadFont, sheetWidth-2*sheetMargin), loadFont, ink, text.XLeft)
	y := top + panelHead
	bottom := y + barPitch*float64(len(p.bars))
	for _, tick := range ticks {
		pen.line(grid, 1, nil, [2]float64{place(tick), y - 2}, [2]float64{place(tick), bottom + 3})
		pen.write(place(tick), bottom+16, tickText(tick), smallFont, faint, text.XCenter)
	}
	// The name of the axis is at its end, where the column of labels leaves room.
	pen.write(sheetWidth-sheetMargin, bottom+16, p.axis, smallFont, faint, text.XRight)
	for _, b := range p.bars {
		fill, weight := color.Color(othersBar), plainFont
		switch {
		case isOurs(b.server):
			fill, weight = oursColour, boldFont
		case strings.HasPrefix(b.server, CeilingPrefix):
			fill = ceilingBar
		}
		middle := y + barPitch/2
		upper, lower, end := middle-barHeight/2, middle+barHeight/2, place(b.value.median())
		pen.write(left-8, middle+4.5, fitted(b.server, weight, nameMax), weight, ink, text.XRight)
		switch {
		case logged: // the length of a bar would depend on where its axis begins
			pen.line(fill, 2, nil, [2]float64{left, middle}, [2]float64{end, middle})
			pen.dot(end, middle, 5.5, fill)
		case b.floor:
			pen.fill(left, upper, end, lower, white)
			pen.line(fill, 1.5, []float64{4, 2}, [2]float64{left, upper}, [2]float64{end, upper}, [2]float64{end, lower}, [2]float64{left, lower})
		default:
			pen.fill(left, upper, end, lower, fill)
		}
		if len(b.value) > 1 {
			from, to := place(b.value.least()), place(b.value.most())
			pen.line(ink, 1, nil, [2]float64{from, middle}, [2]float64{to, middle})
			pen.line(ink, 1, nil, [2]float64{from, middle - 3}, [2]float64{from, middle + 3})
			pen.line(ink, 1, nil, [2]float64{to, middle - 3}, [2]float64{to, middle + 3})
			end = max(end, to)
		}
		pen.fill(end+5, upper, end+9+textWidth(b.label, weight), lower, white) // over the grid
		pen.write(end+7, middle+4.5, b.label, weight, ink, text.XLeft)
		y += barPitch
	}
	pen.line(faint, 1, nil, [2]float64{left, top + panelHead - 2}, [2]float64{left, bottom + 3})
	if p.axis == "× ceiling" && !logged {
		pen.line(ink, 1, []float64{4, 3}, [2]float64{place(1), top + panelHead - 2}, [2]float64{place(1), bottom + 3})
	}
	return bottom + panelFoot
}
