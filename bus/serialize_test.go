package bus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"
)

// published is a publish about n channels whose data is as given.
func published(n int, data string) string {
	names := ""
	for i := range n {
		names += `i:` + string(rune('0'+i)) + `;s:1:"c";`
	}
	return `a:3:{s:4:"type";s:7:"publish";s:8:"channels";a:` + string(rune('0'+n)) + `:{` + names + `}s:4:"data";` + data + `}`
}

func TestWhatPHPSerializesIsRead(t *testing.T) {
	for _, data := range []string{
		`N;`, `b:0;`, `b:1;`, `i:0;`, `i:-5;`, `i:+5;`, `i:9223372036854775807;`, `i:-9223372036854775808;`,
		`d:0.5;`, `d:1;`, `d:-1.0E+25;`, `d:.5;`, `d:5.;`, `d:1e5;`, `d:INF;`, `d:-INF;`, `d:NAN;`,
		`s:0:"";`, `s:6:"";"a:1";`, `a:0:{}`, `a:2:{i:0;a:1:{s:1:"k";a:0:{}}s:2:"xy";N;}`,
		`O:8:"stdClass":1:{s:1:"a";i:1;}`, "O:1:\"A\":1:{s:4:\"\x00*\x00a\";N;}", `E:11:"Suit:Hearts";`, `C:1:"A":3:{x:}}`,
		`a:2:{i:0;i:1;i:1;R:6;}`, `a:2:{i:0;O:8:"stdClass":0:{}i:1;r:6;}`,
	} {
		m, err := readMessage([]byte(published(1, data)), 10)
		if err != nil || string(m.data.raw) != data {
			t.Errorf("%s: got %q, %v", data, m.data.raw, err)
		}
	}
}

func TestWhatPHPCannotHaveSerializedIsAnError(t *testing.T) {
	for _, data := range []string{
		``, `N`, `n;`, `N;N;`, `x:1;`, `b:2;`, `b:;`, `b:+1;`, `i:;`, `i:1`, `i:1.5;`, `i:9223372036854775808;`, `i:-9223372036854775809;`,
		`i:99999999999999999999;`, `i: 1;`, `i:--1;`, `d:;`, `d:x;`, `d:1.2.3;`, `d:1e;`, `d:1e+;`, `d:inf;`, `d:0x1p3;`, `d:1_0;`, `d:.;`,
		`s:1:"";`, `s:5:"abc";`, `s:3:"abc"`, `s:3:'abc';`, `s:-1:"";`, `s:99999999999:"";`, `S:1:"\41";`,
		`a:1:{}`, `a:0:{N;}`, `a:1:{i:0;}`, `a:1:{N;N;}`, `a:1:{d:1;N;}`, `a:1:{a:0:{}N;}`, `a:-1:{}`, `a:1:{i:0;N;`, `a:1000000000:{}`,
		`O:8:"stdClass":1:{}`, `O:8:"stdClass";`, `O:1:"stdClass":0:{}`, `O:8:"stdClass":0:{`, `C:1:"A":5:{x}`, `E:1:"A:B";`,
		`R:5;`, `R:0;`, `R:1;`, `r:2;`, `R:99;`, `R:-1;`, `a:2:{i:0;R:7;i:1;N;}`, `a:1:{i:0;r:6;}`,
	} {
		if m, err := readMessage([]byte(published(1, data)), 10); err == nil {
			t.Errorf("%s: got %q, want an error", data, m.data.raw)
		}
	}
	for _, body := range []string{
		`i:1;`, `a:1:{s:4:"type";O:8:"stdClass":0:{}}`, `a:1:{s:5:"other";E:3:"A:B";}`, `a:1:{s:1:"x";R:1;}`, `a:1:{s:1:"x";r:1;}`,
		`a:2:{s:4:"data";O:1:"A":0:{}s:1:"x";O:1:"A":0:{}}`,
	} {
		if _, err := readMessage([]byte(body), 10); err == nil {
			t.Errorf("%s: got no error", body)
		}
	}
	for depth, want := range map[int]bool{depthMax - 1: true, depthMax: false} {
		data := strings.Repeat("a:1:{i:0;", depth) + "N;" + strings.Repeat("}", depth)
		if _, err := readMessage([]byte(published(1, data)), 10); (err == nil) != want {
			t.Errorf("depth %d beside the outermost: got %v", depth, err)
		}
	}
}

func TestReferencesMoveWithTheirData(t *testing.T) {
	for _, test := range []struct {
		channels   int
		data, want string
	}{
		{1, `a:2:{i:0;i:1;i:1;R:6;}`, `a:2:{i:0;i:1;i:1;R:5;}`},
		{0, `a:2:{i:0;i:1;i:1;R:5;}`, `a:2:{i:0;i:1;i:1;R:5;}`},
		{3, `O:1:"A":2:{s:1:"a";r:7;s:1:"b";a:1:{i:0;R:8;}}`, `O:1:"A":2:{s:1:"a";r:4;s:1:"b";a:1:{i:0;R:5;}}`},
		{7, `a:2:{i:0;s:4:"R:9;";i:1;R:12;}`, `a:2:{i:0;s:4:"R:9;";i:1;R:5;}`},
	} {
		m, err := readMessage([]byte(published(test.channels, test.data)), 10)
		got, ok := m.carried()
		if err != nil || !ok || string(got) != test.want {
			t.Errorf("%s behind %d channels: got %s, %t, %v, want %s", test.data, test.channels, got, ok, err, test.want)
		}
	}
	m, err := readMessage([]byte(published(1, `a:2:{i:0;C:1:"A":2:{xx}i:1;R:6;}`)), 10)
	if _, ok := m.carried(); err != nil || ok {
		t.Errorf("references beside an object of the old kind: got %t, %v, want that they are not carried", ok, err)
	}
}

func TestValuesAsJSON(t *testing.T) {
	for data, want := range map[string]string{
		`N;`: `null`, `b:1;`: `true`, `i:-5;`: `-5`, `d:0.5;`: `0.5`, `d:1.0E+25;`: `1e+25`, `a:0:{}`: `[]`,
		`s:4:"a"` + "\n" + `\";`:           `"a\"\u000a\\"`,
		`a:2:{i:0;i:1;i:1;a:1:{i:1;N;}}`:   `[1,{"1":null}]`,
		`a:2:{i:1;i:1;i:0;i:2;}`:           `{"1":1,"0":2}`,
		`a:2:{s:1:"a";a:0:{}s:1:"b";b:0;}`: `{"a":[],"b":false}`,
		`a:1:{i:0;O:8:"stdClass":0:{}}`:    "", `d:NAN;`: "", `d:INF;`: "", `d:1e999;`: "",
		strings.Repeat("a:1:{i:0;", jsonDepthMax) + "N;" + strings.Repeat("}", jsonDepthMax):     strings.Repeat("[", jsonDepthMax) + "null" + strings.Repeat("]", jsonDepthMax),
		strings.Repeat("a:1:{i:0;", jsonDepthMax+1) + "N;" + strings.Repeat("}", jsonDepthMax+1): "",
	} {
		m, err := readMessage([]byte(published(1, data)), 10)
		got, ok := jsonText(m.data)
		if err != nil || ok != (want != "") || ok && string(got) != want {
			t.Errorf("%s: got %s, %t, %v, want %s", data, got, ok, err, want)
		}
	}
}

// A comparison with the real serialize and unserialize, if there is a php: what it writes is read, and what is written here
// means the same to it.
func TestPHPUnderstandsTheSame(t *testing.T) {
	php, err := exec.LookPath("php")
	if err != nil {
		t.Skip("there is no php on this machine")
	}
	const values = `class Node { public $next; protected $a = 1.5; private $b = [2]; }
		class Own { public $x = [1, 2]; function __serialize(): array { return [$this->x, 'k' => 1]; } function __unserialize(array $d): void { $this->x = $d[0]; } }
		enum Suit: string { case Hearts = 'h'; }
		$node = new Node; $node->next = $node; $shared = 'text'; $list = [1, &$shared, [&$shared], $node, [$node]];
		$things = [null, true, -5, PHP_INT_MIN, 0.1, 1e-300, INF, -INF, '', "a\0b\"};", ['k' => ['deep' => [2]], 3 => 'x', -1 => 'y'],
			$list, ['x' => &$list, 'y' => &$list], new ArrayObject([1, $node, $node]), new Own, new SplObjectStorage, Suit::Hearts,
			[Suit::Hearts, Suit::Hearts], new DateTime('2020-01-01 UTC')];`
	out, err := exec.Command(php, "-r", values+`foreach ($things as $thing) foreach ([1, 3] as $n)
		echo base64_encode(serialize(['type' => 'publish', 'channels' => array_fill(0, $n, 'c'), 'data' => $thing])), "\n";`).CombinedOutput()
	if err != nil {
		t.Fatalf("php: %v %s", err, out)
	}
	var events strings.Builder
	lines := strings.Fields(string(out))
	for _, line := range lines {
		body := unbase64(t, line)
		m, err := readMessage(body, 10)
		data, ok := m.carried()
		if err != nil || !ok {
			t.Fatalf("%q: got %t, %v", body, ok, err)
		}
		events.WriteString(base64Text(eventFrame(verbEvent, stringName("c"), data)[frameHeadBytes:]) + "\n")
	}
	check := exec.Command(php, "-r", values+`foreach ($things as $thing) foreach ([1, 3] as $n) {
		$event = unserialize(base64_decode(trim(fgets(STDIN))));
		if (serialize($event) !== serialize(['type' => 'event', 'channel' => 'c', 'data' => $thing])) echo "different: ", serialize($event), ' and not ', serialize($thing), "\n"; }`)
	check.Stdin = strings.NewReader(events.String())
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("php: %v %s", err, out)
	}
	if len(lines) < 30 {
		t.Errorf("values from php: got %d lines", len(lines))
	}
}

// FuzzFrame checks a stream of frames against its rules: what is read is what was framed, a body is never longer than its
// bound, and no memory is allocated for what did not arrive.
func FuzzFrame(f *testing.F) {
	for _, stream := range []string{"", "\x00", "\x00\x00\x00\x00", "\x00\x00\x00\x03", "\x00\x00\x00\x04", "\xff\xff\xff\xff", "\x00\x00\x00\x08abcd\x00\x00\x00\x05x",
		"\x00\x00\x00\x10abc"} {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const bytesMax = 1 << 20
		in := bufio.NewReader(bytes.NewReader(stream))
		var again []byte
		buf := make([]byte, 0, 8)
		for {
			body, err := readFrame(in, buf, bytesMax, nil)
			if err != nil {
				break
			}
			if len(body)+frameHeadBytes > bytesMax || cap(body) > 2*len(stream)+growBytesMin*2 {
				t.Fatalf("a body of %d bytes, %d taken, out of %d", len(body), cap(body), len(stream))
			}
			again = append(again, frame(string(body))...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatalf("got %q out of %q", again, stream)
		}
	})
}

// FuzzValue checks the reader of serialized text against itself: what it accepts it accepts again after a move, and its JSON
// is valid JSON.
func FuzzValue(f *testing.F) {
	for _, data := range []string{`N;`, `a:2:{i:0;i:1;i:1;R:6;}`, `O:1:"A":1:{s:1:"a";r:5;}`, `C:1:"A":2:{xx}`, `d:1.5;`, `E:3:"A:B";`,
		`a:2:{s:8:"group_id";i:5;s:7:"message";a:1:{i:0;s:1:"x";}}`, `a:1:{i:1;a:1:{i:0;b:1;}}`} {
		f.Add([]byte(published(1, data)))
		f.Add([]byte(published(2, data)))
		f.Add([]byte(`a:2:{s:4:"data";` + data + `s:4:"type";s:5:"event";}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := readMessage(body, 1000)
		if err != nil || m.data.raw == nil {
			return
		}
		data, ok := m.carried()
		if !ok {
			return
		}
		moved, err := readMessage(eventFrame(verbEvent, stringName("c"), data)[frameHeadBytes:], 1)
		if err != nil || !bytes.Equal(moved.data.raw, data) || moved.slot != serverSlot {
			t.Fatalf("%q moved: got %q, slot %d, %v", data, moved.data.raw, moved.slot, err)
		}
		if back := renumber(data, m.slot-serverSlot); m.refs && !m.customs && len(back) < len(m.data.raw)/2 {
			t.Fatalf("%q moved back: got %q", m.data.raw, back)
		}
		if text, ok := jsonText(m.data); ok && utf8.Valid(text) && !json.Valid(text) {
			t.Fatalf("%q: got %s", m.data.raw, text)
		}
		if g, ok, _ := readGroupMessage(m.data); ok {
			again, ok, _ := readGroupMessage(mustRead(t, groupData(g.group, g.text, g.mark)))
			if !ok || again.group != g.group || !bytes.Equal(again.text, g.text) || again.mark != g.mark {
				t.Fatalf("%+v: got %+v, %t", g, again, ok)
			}
		}
	})
}

func mustRead(t *testing.T, data []byte) value {
	t.Helper()
	s := scanner{p: data}
	v, err := s.value()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
