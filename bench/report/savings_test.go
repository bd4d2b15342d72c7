package report

import (
	"bytes"
	"strings"
	"testing"
)

func sizesFile(sizes ...float64) *File {
	f := &File{Format: Format, Command: "sizes", Machine: Machine{CPU: "A", Cores: 2}}
	for round := 1; round <= 3; round++ {
		for _, size := range sizes {
			for _, server := range []string{Compressed, Uncompressed} {
				x := &Fanout{Delivered: 1e6, WireBytes: size, ServerMicros: 5 + float64(round), Allocations: -1}
				r := &Run{Server: server, Load: Count(int64(size)) + " bytes", Round: round, Verb: "sizes", Fine: true, Fanout: x, Flags: map[string]any{"size": size, "members": 100.0}}
				if server == Compressed {
					x.WireBytes, x.ServerMicros = size/4, x.ServerMicros/2
					r.Flags["compression"] = true
				}
				f.Runs = append(f.Runs, r)
			}
		}
	}
	return f
}

func TestWhatCompressionSavesIsOneTableAndOnePicture(t *testing.T) {
	t.Parallel()
	unraced(t)
	f := sizesFile(64, 1000, 20000)
	f.Runs[0].Fine = false // a faulty one does not count
	f.Runs[0].Fanout.WireBytes = 1e9
	for form, text := range map[string]string{"text": Table(f), "markdown": Markdown(f)} {
		found := false
		for line := range strings.Lines(text) {
			cells := strings.Fields(strings.ReplaceAll(line, "|", " "))
			found = found || len(cells) > 0 && strings.Join(cells, " ") == "1,000 1.00k (1.00k–1.00k) 250 (250–250) 0.250 7.00 (6.00–8.00) 3.50 (3.00–4.00) 0.500"
		}
		if !found {
			t.Errorf("%s: no line with what a size of 1,000 costs with and without in\n%s", form, text)
		}
	}
	pictures, err := Pictures(f)
	if err != nil || len(pictures) != 1 || pictures[0].Name != "compression" {
		t.Fatalf("got %d pictures, %v, want one", len(pictures), err)
	}
	for _, want := range []string{">20,000<", "Server CPU of a delivery", ">compressed  3.50<"} {
		if !bytes.Contains(pictures[0].SVG, []byte(want)) {
			t.Errorf("no %q in the picture", want)
		}
	}
	if pictures, err = Pictures(sizesFile(64)); err != nil || len(pictures) != 0 {
		t.Errorf("got %d pictures of one size, %v", len(pictures), err)
	}
}
