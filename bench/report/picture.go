package report

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"slices"
	"strings"
	"unicode"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/font/liberation"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	imagefont "golang.org/x/image/font"
)

// Picture is one drawing in two forms. A page shows the SVG; the PNG, at twice the size, is for viewers without SVG.
type Picture struct {
	Name string // of a file, without an extension: the same for the same loads
	SVG  []byte
	PNG  []byte
}

// Pictures draws what a file has figures for. Runs that failed the check are left out, void figures are marked or left
// out, and a note below says what was left out.
func Pictures(f *File) ([]Picture, error) {
	all := groups(f)
	colours := newColours(all)
	all = slices.DeleteFunc(all, func(g *group) bool { return g.sized }) // one sheet shows them all
	var sheets []*sheet
	for _, g := range all {
		s, err := latencySheet(g, colours)
		if err != nil {
			return nil, err
		}
		sheets = append(sheets, s)
	}
	sheets = append(sheets, cpuSheet("cpu", all, false), cpuSheet("cpu-handshake", all, true), deliveriesSheet(all), memorySheet(all, colours),
		rateSheet("answers by rate", "Answers by rate", func(x *Cluster) Percentiles { return x.Ack }, all, colours),
		rateSheet("deliveries by rate", "Deliveries by rate", func(x *Cluster) Percentiles { return x.Delivery }, all, colours), savingsSheet(f))
	sheets = slices.DeleteFunc(sheets, func(s *sheet) bool { return s == nil })
	var pictures []Picture
	taken := map[string]int{}
	for _, s := range sheets {
		name := fileName(s.name)
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, taken[name])
		}
		p := Picture{Name: name}
		var err error
		if p.SVG, p.PNG, err = s.draw(f); err != nil {
			return nil, fmt.Errorf("picture %s: %w", name, err)
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

// nameBytesMax: file systems allow 255, and a number and an extension are appended.
const nameBytesMax = 120

// fileName keeps letters and digits: "latency fan-out 10,000 × 1" becomes latency-fan-out-10000-x-1.
func fileName(s string) string {
	s = strings.NewReplacer(",", "", "×", "x").Replace(strings.ToLower(s))
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) }), "-")
	return s[:min(len(s), nameBytesMax)]
}

// sheet is a picture before it is drawn: a title, a body, and below it the machine and the conditions of the figures.
type sheet struct {
	name, title, subtitle string
	remarks               []string
	height                float64 // of the body, pixels
	body                  func(p *pen, top float64)
}

const (
	sheetWidth  = 900.0 // pixels: what a README shows without making it smaller
	sheetMargin = 24.0
	sheetHead   = 74.0 // title and subtitle
	lineHeight  = 16.0 // of the small print
	pngScale    = 2    // for high-resolution screens
)

func (s *sheet) draw(f *File) (svg, png []byte, err error) {
	var print []string
	for _, remark := range s.remarks {
		print = append(print, wrapped(remark, smallFont, sheetWidth-2*sheetMargin, 3)...)
	}
	print = append(print, wrapped(f.machineText(), smallFont, sheetWidth-2*sheetMargin, 2)...)
	print = append(print, wrapped(f.commandText(), smallFont, sheetWidth-2*sheetMargin, 2)...)
	height := sheetHead + s.height + 14 + lineHeight*float64(len(print)) + 12
	w, h := pixels(sheetWidth), pixels(height)

	onto := func(c vg.CanvasSizer) *pen {
		p := &pen{canvas: draw.New(c), height: height}
		p.fill(0, 0, sheetWidth, height, white)
		p.write(sheetMargin, 34, s.title, titleFont, ink, text.XLeft)
		p.write(sheetMargin, 56, s.subtitle, plainFont, faint, text.XLeft)
		s.body(p, sheetHead)
		y := sheetHead + s.height + 14 + lineHeight - 4
		for _, line := range print {
			p.write(sheetMargin, y, line, smallFont, faint, text.XLeft)
			y += lineHeight
		}
		return p
	}
	image := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(96*pngScale), vgimg.UseBackgroundColor(white))
	onto(image)
	if png, err = written(vgimg.PngCanvas{Canvas: image}); err != nil {
		return nil, nil, err
	}
	vector := vgsvg.New(w, h)
	widths := onto(vector).widths
	if svg, err = written(vector); err != nil {
		return nil, nil, err
	}
	return withFonts(svg, widths), png, nil
}

// withFonts makes an SVG look the same without Liberation Sans: it names other sans-serif fonts, of which Arial has the same
// widths, and sets the width of each text, since a wider one would overlap a bar.
func withFonts(svg []byte, widths []float64) []byte {
	svg = bytes.ReplaceAll(svg, []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	parts := bytes.Split(svg, []byte("<text "))
	for i := range min(len(parts)-1, len(widths)) {
		parts[i] = fmt.Appendf(parts[i][:len(parts[i]):len(parts[i])], `<text textLength="%.5g" lengthAdjust="spacingAndGlyphs" `, widths[i])
	}
	return bytes.Join(parts, nil)
}

func written(from io.WriterTo) ([]byte, error) {
	var b bytes.Buffer
	_, err := from.WriteTo(&b)
	return b.Bytes(), err
}

// pixels are CSS pixels, 96 per inch.
func pixels(n float64) vg.Length { return vg.Length(n) * vg.Inch / 96 }

// pen draws in pixels from the top left corner.
type pen struct {
	canvas draw.Canvas
	height float64
	widths []float64 // of the texts in the order in which they were written, in points
}

func (p *pen) at(x, y float64) vg.Point { return vg.Point{X: pixels(x), Y: pixels(p.height - y)} }

func (p *pen) fill(x0, y0, x1, y1 float64, c color.Color) {
	p.canvas.FillPolygon(c, []vg.Point{p.at(x0, y0), p.at(x1, y0), p.at(x1, y1), p.at(x0, y1)})
}

func (p *pen) line(c color.Color, width float64, dashes []float64, points ...[2]float64) {
	stroke := draw.LineStyle{Color: c, Width: pixels(width)}
	for _, d := range dashes {
		stroke.Dashes = append(stroke.Dashes, pixels(d))
	}
	path := make([]vg.Point, len(points))
	for i, q := range points {
		path[i] = p.at(q[0], q[1])
	}
	p.canvas.StrokeLines(stroke, path)
}

func (p *pen) dot(x, y, radius float64, c color.Color) {
	p.canvas.DrawGlyph(draw.GlyphStyle{Color: c, Radius: pixels(radius), Shape: draw.CircleGlyph{}}, p.at(x, y))
}

// write puts a line of text with its baseline at y.
func (p *pen) write(x, y float64, s string, f font.Font, c color.Color, align text.XAlignment) {
	if s == "" {
		return
	}
	width := textWidth(s, f)
	p.widths = append(p.widths, float64(pixels(width)))
	x += float64(align) * width
	p.canvas.SetColor(c)
	p.canvas.FillString(fonts.Lookup(f, f.Size), p.at(x, y), s)
}

// fonts are only read after this.
var fonts = font.NewCache(liberation.Collection())

func sans(size float64, weight imagefont.Weight) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: pixels(size)}
}

var (
	titleFont = sans(18, imagefont.WeightBold)
	loadFont  = sans(13.5, imagefont.WeightBold)
	plainFont = sans(13, imagefont.WeightNormal)
	boldFont  = sans(13, imagefont.WeightBold)
	smallFont = sans(11.5, imagefont.WeightNormal)
)

func textWidth(s string, f font.Font) float64 {
	face := fonts.Lookup(f, f.Size)
	return float64(face.Width(s) / pixels(1))
}

// wrapped breaks a text into lines of a width; what does not fit into most lines is cut.
func wrapped(s string, f font.Font, width float64, most int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(s) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && textWidth(longer, f) > width {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	lines = append(lines, line)
	if len(lines) > most {
		lines = append(lines[:most-1], lines[most-1]+" …")
	}
	for i := range lines {
		lines[i] = fitted(lines[i], f, width)
	}
	return lines
}

// fitted cuts a text to a width.
func fitted(s string, f font.Font, width float64) string {
	if textWidth(s, f) <= width {
		return s
	}
	runes := []rune(s)
	for len(runes) > 1 && textWidth(string(runes)+"…", f) > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// The white background is drawn: dark text on the transparent background of a dark page could not be read.
var (
	white = color.RGBA{0xff, 0xff, 0xff, 0xff}
	ink   = color.RGBA{0x1f, 0x23, 0x28, 0xff}
	faint = color.RGBA{0x59, 0x63, 0x6e, 0xff}
	grid  = color.RGBA{0xe3, 0xe6, 0xea, 0xff}
	// The palette of Okabe and Ito, whose colours can be told apart with colour blindness, without its yellow, which is hard
	// to see on white.
	oursColour    = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	ceilingColour = color.RGBA{0x8c, 0x95, 0x9f, 0xff}
	othersColours = []color.RGBA{{0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff}, {0xe6, 0x9f, 0x00, 0xff},
		{0x56, 0xb4, 0xe9, 0xff}, {0x40, 0x40, 0x40, 0xff}}
	othersBar  = color.RGBA{0xa3, 0xb1, 0xbf, 0xff}
	ceilingBar = color.RGBA{0xd5, 0xda, 0xe0, 0xff}
	dashings   = [][]float64{nil, {7, 3}, {2, 3}, {9, 3, 2, 3}}
)

// oursPrefix begins the names of the server that the pictures are about.
const oursPrefix = "ringcast"

func isOurs(server string) bool { return strings.HasPrefix(server, oursPrefix) }

// look is how a server's line is drawn, in all pictures of a file.
type look struct {
	colour color.RGBA
	width  float64
	dashes []float64
}

func newColours(all []*group) map[string]look {
	looks := map[string]look{}
	for _, g := range all {
		for _, w := range g.rows {
			looks[w.server] = look{}
		}
	}
	ours, ceilings, others := 0, 0, 0
	for _, server := range sortedKeys(looks) {
		switch {
		case isOurs(server):
			looks[server] = look{oursColour, 3, dashings[ours%len(dashings)]}
			ours++
		case strings.HasPrefix(server, CeilingPrefix):
			looks[server] = look{ceilingColour, 1.5, dashings[(1+ceilings)%len(dashings)]}
			ceilings++
		default:
			looks[server] = look{othersColours[others%len(othersColours)], 1.75, dashings[others/len(othersColours)%len(dashings)]}
			others++
		}
	}
	return looks
}
