package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files; read the difference before it is committed")

const sampleName = "testdata/comparison.json"

// sample reads the file that the golden ones were made of.
func sample(t *testing.T) *File {
	t.Helper()
	if *update {
		if err := sampleFile(1, 3).Write(sampleName); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Read(sampleName)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestTheTablesOfAComparisonAreAsTheyWere(t *testing.T) {
	f := sample(t)
	golden(t, "comparison.txt", Table(f))
	golden(t, "comparison.md", Markdown(f))
	var b bytes.Buffer
	if err := CSV(&b, f); err != nil {
		t.Fatal(err)
	}
	golden(t, "comparison.csv", b.String())
	golden(t, "against.txt", Compare(sampleFile(2, 5), sampleFile(3, 5)).Text())
	golden(t, "against.md", Compare(sampleFile(2, 5), sampleFile(3, 5)).Markdown())
}

// oneLoad is a file of one load with the given µs per delivery of each server, one for each round.
func oneLoad(servers map[string][]float64) *File {
	f := &File{Format: Format, Command: "compare", Machine: Machine{CPU: "A", Cores: 2, Kernel: "6.1", Go: "go1.26"}}
	for _, server := range sortedKeys(servers) {
		for i, micros := range servers[server] {
			f.Runs = append(f.Runs, &Run{Server: server, Load: "load", Round: i + 1, Verb: "fanout", Fine: true, Verdict: "fine",
				Flags:  map[string]any{"members": 10.0, "window": 1.0},
				Fanout: &Fanout{Delivered: 1000, DeliveredPer: 1e6 / micros, ServerMicros: micros, Latency: Percentiles{P50: 1e6, P99: 2e6}}})
		}
	}
	return f
}

// cellOf is what a table has for a server in a column.
func cellOf(t *testing.T, f *File, server, column string) string {
	t.Helper()
	cells := groups(f)[0].cells()
	at := slices.Index(cells[0], column)
	for _, line := range cells[1:] {
		if line[0] == server && at >= 0 {
			return line[at]
		}
	}
	t.Fatalf("got no column %q for %q in %q", column, server, cells)
	return ""
}

func TestCeilingsStandFirstAndTheOthersByCost(t *testing.T) {
	t.Parallel()
	f := oneLoad(map[string][]float64{"a": {3}, "b": {2}, "unseen": {0}, "ceiling message": {4}, "ceiling turn": {1}})
	var got []string
	for _, w := range groups(f)[0].rows {
		got = append(got, w.server)
	}
	if want := []string{"ceiling turn", "ceiling message", "b", "a", "unseen"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := cellOf(t, f, "ceiling message", "× ceiling"); got != "4.00" {
		t.Errorf("the ceiling that costs more: got %s × the other, want 4.00", got)
	}
}

func TestAServerIsDividedByTheCeilingOfItsOwnRound(t *testing.T) {
	t.Parallel()
	// The machine was three times slower in round 2. Medians alone would give (2–6)/2.
	f := oneLoad(map[string][]float64{"a": {2, 6, 2.2}, "ceiling turn": {1, 3, 1.1}})
	if got, want := cellOf(t, f, "a", "× ceiling"), "2.00 (2.00–2.00)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	f.Runs = slices.DeleteFunc(f.Runs, func(r *Run) bool { return r.IsCeiling() && r.Round == 2 })
	if got, want := cellOf(t, f, "a", "× ceiling"), "2.00 (2.00–5.71)"; got != want {
		t.Errorf("without the ceiling's round 2: got %s, want %s, by its median", got, want)
	}
}

func TestWithoutACeilingTheTableSaysSo(t *testing.T) {
	t.Parallel()
	got := Table(oneLoad(map[string][]float64{"a": {1, 2, 3}}))
	if strings.Contains(got, "× ceiling") || !strings.Contains(got, "No ceiling was run") || !strings.Contains(got, "2.00 (1.00–3.00)") {
		t.Errorf("got\n%s", got)
	}
}

func TestOneRoundHasNoRange(t *testing.T) {
	t.Parallel()
	f := oneLoad(map[string][]float64{"ws://127.0.0.1:1234/": {1.5}, "ceiling turn": {1}})
	for _, r := range f.Runs {
		r.Load, r.Round = "", 0 // as a single verb writes it
	}
	if got := cellOf(t, f, "ws://127.0.0.1:1234/", "server µs/delivery"); got != "1.50" {
		t.Errorf("got %q, want 1.50", got)
	}
	if got := Table(f); !strings.Contains(got, "fanout, 10 members") || strings.Contains(got, "Medians") || strings.Contains(got, "1.00–") {
		t.Errorf("got\n%s", got)
	}
}

func TestARateThatTheGeneratorLimitedIsAFloor(t *testing.T) {
	t.Parallel()
	f := oneLoad(map[string][]float64{"a": {1, 2, 4}})
	f.Runs[0].RateVoid = true
	if got, want := cellOf(t, f, "a", "deliveries/s"), "≥ 500k (250k–1.00M) (VOID)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := cellOf(t, f, "a", "p99 ms"), "2.00 (2.00–2.00)"; got != want {
		t.Errorf("latency of the other rounds: got %q, want %q", got, want)
	}
	for _, r := range f.Runs {
		r.Fanout.LatencyVoid = true
	}
	if got := cellOf(t, f, "a", "p99 ms"); got != "(VOID)" {
		t.Errorf("latency: got %q, want (VOID)", got)
	}
	if got := Table(f); !strings.Contains(got, "VOID, ≥: the generator was the limit") || !strings.Contains(got, "VOID latency") {
		t.Errorf("the marks are not explained in\n%s", got)
	}
}

func TestAFaultyRunIsNamedAndInNoFigure(t *testing.T) {
	t.Parallel()
	f := oneLoad(map[string][]float64{"a": {1, 2, 3}})
	f.Runs[0].Fine, f.Runs[0].Verdict, f.Runs[0].Counts = false, "FAULTY", map[string]uint64{"lost": 1234}
	if got := cellOf(t, f, "a", "server µs/delivery"); got != "2.50 (2.00–3.00)" {
		t.Errorf("got %q, want the median of 2 and 3", got)
	}
	for _, got := range []string{Table(f), Markdown(f)} {
		if !strings.Contains(got, "a, round 1: FAULTY (1,234 lost)") || !strings.Contains(got, "FAULTY 1 of 3") {
			t.Errorf("the fault is not named in\n%s", got)
		}
	}
	for _, r := range f.Runs {
		r.Fine = false
	}
	if got := Table(f); strings.Contains(got, "µs") || !strings.Contains(got, "FAULTY 3 of 3") {
		t.Errorf("all faulty: got figures in\n%s", got)
	}
	if pictures, err := Pictures(f); err != nil || len(pictures) != 0 {
		t.Errorf("all faulty: got %d pictures, %v", len(pictures), err)
	}
}

func TestOtherFlagsUnderTheSameNameAreSaid(t *testing.T) {
	t.Parallel()
	f := oneLoad(map[string][]float64{"a": {1}, "b": {1}})
	f.Runs[1].Flags = map[string]any{"members": 20.0, "window": 1.0}
	if got := Table(f); !strings.Contains(got, "different flags: members.") {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatAFileCallsAServerCannotEndACell(t *testing.T) {
	t.Parallel()
	got := Markdown(oneLoad(map[string][]float64{"a|b\nc": {1}}))
	if !strings.Contains(got, `| a\|b c |`) {
		t.Errorf("got\n%s", got)
	}
}

func TestPublishesOverHTTPHaveATableOfTheirOwn(t *testing.T) {
	posted := func(server string, round int, micros, rate float64) *Run {
		return &Run{Server: server, Round: round, Verb: "post", Fine: true, Verdict: "fine", Flags: map[string]any{"connections": 1.0, "groups": 2.0, "size": 64.0},
			Post: &Post{Accepted: 100, Seconds: 1, PerSecond: rate, Answer: Percentiles{P50: 1e5, P99: 2e5}, ServerMicros: micros}}
	}
	f := &File{Format: Format, Command: "post", Runs: []*Run{posted("mine", 1, 50, 9000), posted("ceiling http", 1, 40, 10000), posted("ceiling http", 2, 50, 20000), posted("mine", 2, 60, 10000)}}
	table := strings.Join(strings.Fields(Table(f)), " ")
	for _, want := range []string{
		"post, 1 connections, 2 groups, 64 bytes",
		"mine 55.0 (50.0–60.0) 1.23 (1.20–1.25) 9.50k (9.00k–10.0k) 0.700 (0.500–0.900) 0.100 (0.100–0.100) 0.200 (0.200–0.200) fine × 2",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if text := Text(f); !strings.Contains(text, "50.0 µs of CPU a request") {
		t.Errorf("got\n%s", text)
	}
}

func TestWhoCameBackHasATableOfItsOwn(t *testing.T) {
	back := func(server string, round int, micros float64, void bool) *Run {
		return &Run{Server: server, Load: "all back", Round: round, Verb: "resume", Fine: true, Verdict: "fine", RateVoid: void,
			Flags: map[string]any{"members": 60.0, "groups": 5.0, "publishers": 5.0, "size": 64.0, "rate": 100.0, "missed": 20.0},
			Resume: &Resume{Returns: 60, Recovered: 60, Seconds: 0.5, Answer: Percentiles{P50: 3e6, P99: 9e6, Max: 10e6}, ServerMicros: micros,
				Before: Percentiles{P99: 1e6}, During: Percentiles{P99: 26e6}, BeforeCount: 100, DuringCount: 50}}
	}
	f := &File{Format: Format, Command: "compare", Runs: []*Run{back("b history", 1, 200, true), back("a history", 1, 100, false), back("b history", 2, 200, true), back("a history", 2, 300, false)}}
	table := Table(f)
	for _, want := range []string{
		"server     server µs/recovery  answer p50 ms     answer p99 ms     last answer s  bystanders' p99 ms before         meanwhile     check",
		"a history       200 (100–300)  3.00 (3.00–3.00)  9.00 (9.00–9.00)  0.500 (0.500–0.500)",
		"b history       200 (200–200)            (VOID)            (VOID)               (VOID)",
		"VOID latency: the generator was full or late, so the time is its own: b history.",
		"No ceiling has a history.",
	} {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	if strings.Contains(table, "Open loop") {
		t.Errorf("got a remark about deliveries in\n%s", table)
	}
	text := Text(f)
	for _, want := range []string{"60 members, 5 groups, 5 publishers, 64 bytes, 100 messages/s, all are cut off and miss 20", "not recovered 0",
		"the last came after 0.50 s", "p99 1ms before (of 100 messages), 26ms while members came back (of 50 messages)", "100.0 µs of CPU a recovery"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	c := Compare(f, &File{Format: Format, Runs: []*Run{back("a history", 1, 1000, false)}})
	var figures []string
	for _, d := range c.Differences {
		figures = append(figures, d.Figure)
	}
	if want := []string{"server µs/recovery", "answer p99 ms"}; !slices.Equal(figures, want) {
		t.Errorf("got %q compared, want %q", figures, want)
	}
	var line strings.Builder
	if err := CSV(&line, f); err != nil || !strings.Contains(line.String(), ",20,,,60,0,100,3000000,9000000,10000000,0.5,1000000,26000000,,,,,,,,,,,,,,,,,,,\n") {
		t.Errorf("got %v and\n%s", err, &line)
	}
	if pictures, err := Pictures(f); err != nil || len(pictures) != 0 {
		t.Errorf("got %d pictures, %v, want none: nothing was delivered that they show", len(pictures), err)
	}
}

func TestDigits(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0.00", 0.0123: "0.0123", 0.9996: "1.00", 1: "1.00", 9.999: "10.0", 99.96: "100", 999.4: "999", 999.6: "1.00k",
		1234: "1.23k", 123456: "123k", 999600: "1.00M", 2.5e9: "2.50G", math.NaN(): "–", 1e-9: "0.000000"} {
		if got := digits(v); got != want {
			t.Errorf("%v: got %s, want %s", v, got, want)
		}
	}
}

func TestMergeKeepsMachinesApartAndRoundsTogether(t *testing.T) {
	t.Parallel()
	// Three files of a single verb: each server is compared with the ceiling of its own file.
	var files []*File
	for _, slow := range []float64{1, 3, 1.1} {
		f := oneLoad(map[string][]float64{"a": {2 * slow}, "ceiling turn": {slow}})
		f.Runs[0].Round, f.Runs[1].Round, f.Commit = 0, 0, "c"
		files = append(files, f)
	}
	other := oneLoad(map[string][]float64{"a": {9}})
	other.Machine.CPU, other.Commit = "B", "c"
	all := Merge(append(files, other)...)
	if len(all) != 2 || len(all[0].Runs) != 6 || len(all[1].Runs) != 1 {
		t.Fatalf("got %d files, want 2 with 6 and 1 runs", len(all))
	}
	if got, want := cellOf(t, all[0], "a", "× ceiling"), "2.00 (2.00–2.00)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if files[0].Runs[0].Round != 0 || len(files[0].Runs) != 2 {
		t.Error("the file that was given was changed")
	}
	files[0].Commit, files[1].Commit = "", ""
	if got := len(Merge(files[0], files[1])); got != 2 {
		t.Errorf("got %d files of unknown trees, want them kept apart", got)
	}
}

func TestJSONIsOneListWithTheMachineOfEachRun(t *testing.T) {
	t.Parallel()
	a, b := oneLoad(map[string][]float64{"a": {1, 2}}), oneLoad(map[string][]float64{"a": {3}})
	b.Machine.CPU = "B"
	var out bytes.Buffer
	if err := JSON(&out, a, b); err != nil {
		t.Fatal(err)
	}
	var list struct {
		Runs []struct {
			Server  string
			Fanout  Fanout
			Machine Machine
		}
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Runs) != 3 || list.Runs[0].Machine.CPU != "A" || list.Runs[2].Machine.CPU != "B" || list.Runs[2].Fanout.ServerMicros != 3 {
		t.Errorf("got %+v", list)
	}
}

func TestCSVHasALineForEachRunUnderOneHeading(t *testing.T) {
	t.Parallel()
	a, b := oneLoad(map[string][]float64{"a, \"b\"\nc": {1.25, 2}}), sampleFile(1, 1)
	var out bytes.Buffer
	if err := CSV(&out, a, b); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 1+2+len(b.Runs) {
		t.Fatalf("got %d lines, %v", len(lines), err)
	}
	if at := slices.Index(lines[0], "server_us_per_delivery"); lines[1][0] != "a, \"b\"\nc" || lines[1][at] != "1.25" {
		t.Errorf("got %q, %q", lines[1][0], lines[1][at])
	}
	if slices.Sort(lines[0]); len(slices.Compact(lines[0])) != len(fields) {
		t.Error("two columns have the same name")
	}
	if err := CSV(failing{}, a); err == nil {
		t.Error("a full disk went unnoticed")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

// around gives rounds near a value that differ by less than 3 %.
func around(v float64, rounds int) []float64 {
	all := make([]float64, rounds)
	for i := range all {
		all[i] = v * (1 + 0.002*float64(i))
	}
	return all
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		before, after []float64
		want          string
	}{
		{"two rounds", around(1, 2), around(5, 9), verdictTooFew},
		{"three rounds, twice as fast", around(2, 3), around(1, 3), verdictFaster},
		{"three rounds, slower", around(1, 3), around(1.2, 3), verdictSlower},
		{"three rounds that overlap", []float64{1, 1.1, 1.3}, []float64{1.25, 1.4, 1.5}, verdictNoise},
		{"apart, but by 2 %", around(1, 3), around(1.02, 3), verdictNoise},
		{"five rounds apart", around(1, 5), around(1.2, 5), verdictSlower},
		{"five rounds of which one overlaps", []float64{1, 1.01, 1.02, 1.03, 1.3}, []float64{1.2, 1.21, 1.22, 1.23, 1.24}, verdictNoise},
		{"eight rounds of which one overlaps", []float64{1, 1, 1, 1, 1, 1, 1, 1.3}, around(1.2, 8), verdictSlower},
		{"a hundred equal rounds", around(1, 100), around(1, 100), verdictNoise},
		{"a hundred rounds apart", around(1, 100), around(1.5, 100), verdictSlower},
	} {
		if got := judge(cpuPerDelivery, newSpread(c.before), newSpread(c.after)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if got := judge(deliveries, newSpread(around(1, 3)), newSpread(around(2, 3))); got != verdictFaster {
		t.Errorf("a higher rate: got %q, want %q", got, verdictFaster)
	}
	if got := judge(memoryEach, newSpread(around(1, 3)), newSpread(around(2, 3))); got != verdictMore {
		t.Errorf("more memory: got %q, want %q", got, verdictMore)
	}
}

// The chances are counted by hand: of the 252 ways to choose 5 of 10, and so on.
func TestChanceIsThatOfAllWaysToDealTheRanks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b spread
		want float64
	}{
		{spread{1, 2, 3}, spread{4, 5, 6}, 2.0 / 20},
		{spread{1, 2, 3, 4}, spread{5, 6, 7, 8}, 2.0 / 70},
		{spread{1, 2, 3, 4, 5}, spread{6, 7, 8, 9, 10}, 2.0 / 252},
		{spread{1, 2, 3, 4, 6}, spread{5, 7, 8, 9, 10}, 4.0 / 252},
		{spread{1, 2}, spread{3}, 2.0 / 3},
		{spread{7, 7, 7}, spread{7, 7, 7}, 1},
		{spread{1, 1}, spread{2, 2}, 2.0 / 6},
		{spread{2, 3}, spread{1, 2, 2}, 6.0 / 10},
	} {
		if got := chance(c.a, c.b); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v and %v: got %v, want %v", c.a, c.b, got, c.want)
		}
		if got, other := chance(c.a, c.b), chance(c.b, c.a); math.Abs(got-other) > 1e-9 {
			t.Errorf("%v and %v: got %v one way, %v the other", c.a, c.b, got, other)
		}
	}
}

// verdicts are those of a comparison, by server and figure.
func verdicts(c *Comparison) map[string]string {
	all := map[string]string{}
	for _, d := range c.Differences {
		all[d.Server+" "+d.Figure] = d.Verdict
	}
	return all
}

func TestTheVerdictIsAboutTheMultipleOfTheCeiling(t *testing.T) {
	t.Parallel()
	// Everything took twice as long, because of the machine.
	before := oneLoad(map[string][]float64{"a": around(2, 5), "ceiling turn": around(1, 5)})
	after := oneLoad(map[string][]float64{"a": around(4, 5), "ceiling turn": around(2, 5)})
	c := Compare(before, after)
	if got := verdicts(c)["a server µs/delivery"]; got != verdictNoise {
		t.Errorf("got %q, want %q", got, verdictNoise)
	}
	if !strings.Contains(c.Text(), "ceiling turn itself is slower") {
		t.Errorf("no warning of the machine in\n%s", c.Text())
	}
	for _, f := range []*File{before, after} {
		f.Runs = slices.DeleteFunc(f.Runs, (*Run).IsCeiling)
	}
	if got := verdicts(Compare(before, after))["a server µs/delivery"]; got != verdictSlower {
		t.Errorf("without ceilings: got %q, want %q", got, verdictSlower)
	}
}

func TestCeilingsOfDifferentFormsAreNoYardstick(t *testing.T) {
	t.Parallel()
	before := oneLoad(map[string][]float64{"a": around(2, 5), "ceiling turn": around(1, 5)})
	after := oneLoad(map[string][]float64{"a": around(2, 5), "ceiling message": around(0.5, 5)})
	c := Compare(before, after)
	if got := verdicts(c)["a server µs/delivery"]; got != verdictNoise || c.Differences[0].ShareRatio != 0 {
		t.Errorf("got %q, %+v", got, c.Differences)
	}
}

func TestAnotherMachineIsOnlyJudgedByTheCeiling(t *testing.T) {
	t.Parallel()
	before := oneLoad(map[string][]float64{"a": around(2, 5), "ceiling turn": around(1, 5)})
	after := oneLoad(map[string][]float64{"a": around(6, 5), "ceiling turn": around(2, 5)})
	after.Machine = Machine{CPU: "B", Cores: 4, Kernel: "6.9", Go: "go1.27"}
	c := Compare(before, after)
	if got := verdicts(c)["a server µs/delivery"]; got != verdictSlower {
		t.Errorf("got %q, want %q: 3 × the ceiling instead of 2", got, verdictSlower)
	}
	for _, want := range []string{"different machines", "kernels differ", "versions of Go"} {
		if !strings.Contains(c.Text(), want) {
			t.Errorf("no warning %q in\n%s", want, c.Text())
		}
	}
	after.Runs = slices.DeleteFunc(after.Runs, (*Run).IsCeiling)
	if got := verdicts(Compare(before, after))["a server µs/delivery"]; got != verdictMachine {
		t.Errorf("without its ceiling: got %q, want %q", got, verdictMachine)
	}
}

func TestAnotherLoadUnderTheSameNameHasNoVerdict(t *testing.T) {
	t.Parallel()
	before, after := oneLoad(map[string][]float64{"a": around(2, 5)}), oneLoad(map[string][]float64{"a": around(1, 5)})
	for _, r := range after.Runs {
		r.Flags = map[string]any{"members": 10.0, "window": 1.0, "time": "9s"}
	}
	if got := verdicts(Compare(before, after))["a server µs/delivery"]; got != verdictFaster {
		t.Errorf("a longer run: got %q, want %q", got, verdictFaster)
	}
	for _, r := range after.Runs {
		r.Flags["members"] = 1000.0
	}
	c := Compare(before, after)
	if got := verdicts(c)["a server µs/delivery"]; got != verdictLoad || !strings.Contains(c.Text(), "members 10 → 1000") {
		t.Errorf("got %q in\n%s", got, c.Text())
	}
}

func TestOnlyWhatBothFilesHaveIsCompared(t *testing.T) {
	t.Parallel()
	before, after := oneLoad(map[string][]float64{"a": {1}, "b": {1}}), oneLoad(map[string][]float64{"a": {1}, "c": {1}})
	after.Runs = append(after.Runs, &Run{Server: "a", Load: "other", Fine: true})
	text := Compare(before, after).Text()
	for _, want := range []string{"load, b: only before", "load, c: only after", "other: only after"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	before.Runs[0].Load, before.Runs[1].Load = "x", "x"
	if text := Compare(before, after).Text(); !strings.Contains(text, "no figure in common") {
		t.Errorf("got\n%s", text)
	}
}

func TestTheServerOfASingleVerbMayHaveMovedToAnotherPort(t *testing.T) {
	t.Parallel()
	before, after := oneLoad(map[string][]float64{"ws://127.0.0.1:1/": around(2, 3)}), oneLoad(map[string][]float64{"ws://127.0.0.1:2/": around(1, 3)})
	if got := verdicts(Compare(before, after))["ws://127.0.0.1:1/ → ws://127.0.0.1:2/ server µs/delivery"]; got != verdictFaster {
		t.Errorf("got %q, want %q", got, verdictFaster)
	}
}

func TestFaultyAndVoidRunsAreNotCompared(t *testing.T) {
	t.Parallel()
	before, after := oneLoad(map[string][]float64{"a": around(2, 4)}), oneLoad(map[string][]float64{"a": around(1, 4)})
	after.Runs[0].Fine, after.Runs[0].Verdict = false, "FAULTY"
	after.Runs[1].Fine, after.Runs[1].Verdict = false, "FAULTY"
	after.Runs[2].RateVoid = true
	c := Compare(before, after)
	if got := verdicts(c); got["a server µs/delivery"] != verdictTooFew || got["a deliveries/s"] != "" {
		t.Errorf("got %v", got)
	}
	if text := c.Text(); !strings.Contains(text, "after: load: a, round 1: FAULTY") || !strings.Contains(text, "the generator was the limit") {
		t.Errorf("no warning in\n%s", text)
	}
}

// checkPicture decodes both forms. The PNG must have the right size and show something.
func checkPicture(t *testing.T, p Picture) {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(p.PNG))
	if err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	size := decoded.Bounds().Size()
	if size.X != sheetWidth*pngScale || size.Y < 200*pngScale || size.Y > 4000*pngScale {
		t.Errorf("%s: got %v pixels", p.Name, size)
	}
	const every = 3 // looking at each pixel takes minutes under -race
	drawn, ours := 0, 0
	for y := 0; y < size.Y; y += every {
		for x := 0; x < size.X; x += every {
			switch r, g, b, _ := decoded.At(x, y).RGBA(); {
			case r>>8 == uint32(oursColour.R) && g>>8 == uint32(oursColour.G) && b>>8 == uint32(oursColour.B):
				ours++
			case r>>8 < 0xf0:
				drawn++
			}
		}
	}
	if drawn < size.X*size.Y/every/every/200 || ours < 500/every/every {
		t.Errorf("%s: got %d pixels drawn, %d of them for ringcast, of %v", p.Name, drawn, ours, size)
	}
	if texts, wide := bytes.Count(p.SVG, []byte("<text ")), bytes.Count(p.SVG, []byte("<text textLength=")); texts != wide {
		t.Errorf("%s: SVG: got %d texts, %d with a width", p.Name, texts, wide)
	}
	elements, written := 0, false
	for decoder := xml.NewDecoder(bytes.NewReader(p.SVG)); ; {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: SVG: %v", p.Name, err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements++
		case xml.CharData:
			written = written || strings.HasPrefix(string(token), "ringcast")
		}
	}
	if elements < 40 || !written {
		t.Errorf("%s: SVG: got %d elements, ringcast named: %v", p.Name, elements, written)
	}
}

// unraced skips a test that draws under the race detector: that takes seconds a picture then. CI runs all tests without the detector first.
func unraced(t *testing.T) {
	t.Helper()
	if underRace {
		t.Skip("what is drawn is checked: CI has just run it without the race detector")
	}
}

func TestPicturesShowSomething(t *testing.T) {
	t.Parallel()
	unraced(t)
	f := sampleFile(1, 2)
	few := []string{"ceiling turn", "ringcast", "gws", "ws"}
	f.Runs = slices.DeleteFunc(f.Runs, func(r *Run) bool { return !slices.Contains(few, r.Server) || r.Load == "fan-out 10,000 × 1" })
	pictures, err := Pictures(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pictures {
		names = append(names, p.Name)
		checkPicture(t, p)
	}
	want := []string{"latency-fan-out-1000-x-1-8-in-flight", "latency-chat-100-x-100", "cpu", "cpu-handshake", "deliveries", "memory"}
	if !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestMemoryIsALineWhereThereAreSeveralNumbersOfClients(t *testing.T) {
	t.Parallel()
	unraced(t)
	f := &File{Format: Format, Command: "compare", Machine: Machine{CPU: "A", Cores: 2}}
	for _, clients := range []float64{100, 1000, 10000} {
		for server, each := range map[string]float64{"ringcast": 1400, "gws": 9000, "ceiling message": 400} {
			f.Runs = append(f.Runs, &Run{Server: server, Load: fmt.Sprintf("connect %v", clients), Verb: "connect", Fine: true,
				Flags: map[string]any{"clients": clients}, Connect: &Connect{}, Memory: &Memory{RSSPerClient: each + 1e5/clients}})
		}
	}
	pictures, err := Pictures(f)
	if err != nil || len(pictures) != 1 {
		t.Fatalf("got %d pictures, %v", len(pictures), err)
	}
	checkPicture(t, pictures[0])
	if !bytes.Contains(pictures[0].SVG, []byte(">10,000<")) {
		t.Error("the numbers of clients are not on the axis")
	}
}

func TestAServerThatCostsAThousandTimesMoreHidesNoOther(t *testing.T) {
	t.Parallel()
	unraced(t)
	pictures, err := Pictures(oneLoad(map[string][]float64{"ringcast": {1, 1.1}, "ws": {1000, 1100}, "ceiling turn": {0.9, 1}}))
	if err != nil || len(pictures) != 2 { // without histograms
		t.Fatalf("got %d pictures, %v", len(pictures), err)
	}
	for _, p := range pictures {
		checkPicture(t, p)
		if !bytes.Contains(p.SVG, []byte("logarithmic")) {
			t.Errorf("%s: the axis is not said to be logarithmic", p.Name)
		}
	}
}

func TestLatencyIsAddedUpOverTheRoundsThatCount(t *testing.T) {
	t.Parallel()
	f := sampleFile(1, 3)
	w := groups(f)[0].row("ringcast")
	w.fine[1].Fanout.LatencyVoid = true
	sum, err := w.histogram()
	if err != nil || sum.TotalCount() != 2*100_000 {
		t.Fatalf("got %v deliveries, %v, want 200,000", sum.TotalCount(), err)
	}
}

func TestABrokenHistogramIsAnErrorAndNoPanic(t *testing.T) {
	t.Parallel()
	whole := sampleFile(1, 1).Runs[0].Fanout.Histogram
	for _, broken := range []string{"AAAA", "!", whole[:20], whole[:len(whole)/2], strings.Repeat("A", 400)} {
		f := sampleFile(1, 1)
		f.Runs[0].Fanout.Histogram = broken
		if _, err := Pictures(f); err == nil || !strings.Contains(err.Error(), "latency histogram") {
			t.Errorf("%.30q: got %v, want an error about the histogram", broken, err)
		}
	}
}

func TestNamesMoveApartAndStayInOrder(t *testing.T) {
	t.Parallel()
	want := []float64{50, 10, 11, 200, 12, 195, 189}
	got := apart(want, 16, 10, 190)
	order := []int{1, 2, 4, 0, 6, 5, 3}
	for n, i := range order {
		if got[i] < 10 || got[i] > 190 || n > 0 && got[i]-got[order[n-1]] < 16 {
			t.Errorf("got %v of %v", got, want)
		}
	}
}

func TestForeignFilesAreRefusedInASentence(t *testing.T) {
	t.Parallel()
	var whole bytes.Buffer
	if err := json.NewEncoder(&whole).Encode(sampleFile(1, 1)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"truncated":      {whole.String()[:whole.Len()/2], "is no result file"},
		"empty":          {"", "is no result file"},
		"no JSON":        {"\x89PNG", "is no result file"},
		"another JSON":   {`{"name":"x"}`, "has format 0"},
		"a list":         {`[1,2]`, "is no result file"},
		"of the future":  {`{"format":99,"runs":[{}]}`, "has format 99"},
		"without runs":   {`{"format":1}`, "has no runs"},
		"with a nothing": {`{"format":1,"runs":[null]}`, "has no runs"},
	} {
		file := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want %q and the file's name", name, err, c.want)
		}
	}
}

func TestARunWithoutFiguresBreaksNothing(t *testing.T) {
	t.Parallel()
	f := &File{Format: Format, Runs: []*Run{{}, {Server: "a", Fine: true}, {Server: "ceiling turn", Fine: true, Fanout: &Fanout{}},
		{Server: "a", Fine: true, Connect: &Connect{}, Memory: &Memory{}}}}
	if Table(f) == "" || Markdown(f) == "" || Compare(f, f).Text() == "" || CSV(io.Discard, f) != nil || JSON(io.Discard, f) != nil {
		t.Error("got nothing")
	}
	if pictures, err := Pictures(f); err != nil || len(pictures) > 0 {
		t.Errorf("got %d pictures, %v", len(pictures), err)
	}
}
