package secure

import (
	"bytes"
	"testing"
)

func TestWhatAConnectionBeginsWith(t *testing.T) {
	t.Parallel()
	hello := func(n int) []byte {
		body := append([]byte{clientHello, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
		return append([]byte{22, 3, 1, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	split := func(p []byte, at int) []byte { // the message in two records
		body := p[5:]
		out := append([]byte{22, 3, 1, byte(at >> 8), byte(at)}, body[:at]...)
		rest := body[at:]
		return append(append(out, 22, 3, 1, byte(len(rest)>>8), byte(len(rest))), rest...)
	}
	for name, c := range map[string]struct {
		p    []byte
		want Kind
	}{
		"whole":                 {hello(300), Hello},
		"in two records":        {split(hello(300), 100), Hello},
		"in records of a byte":  {split(hello(300), 1), Hello},
		"with something behind": {append(hello(300), 1, 2, 3), Hello},
		"HTTP":                  {[]byte("GET / HTTP/1.1\r\n"), Text},
		"HTTP, its first byte":  {[]byte("P"), Text},
		"SSL 2":                 {[]byte{0x80, 0x2e, 1, 0, 2}, Garbage},
		"another message":       {append([]byte{22, 3, 1, 0, 4}, 2, 0, 0, 0), Garbage},
		"another record":        {append([]byte{22, 3, 1, 0, 2, 1, 0}, 23, 3, 1, 0, 1), Garbage},
		"no version":            {[]byte{22, 9}, Garbage},
		"an empty record":       {[]byte{22, 3, 1, 0, 0}, Garbage},
		"a message too long":    {[]byte{22, 3, 1, 0, 9, clientHello, 1, 0, 0}, Garbage},
		"too many records":      {append([]byte{22, 3, 1, 0, 1, clientHello, 22, 3, 1, 0, 1, 0}, bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, helloRecordsMax-1)...), Garbage},
		"a record too long":     {[]byte{22, 3, 1, 0xff, 0xff}, Garbage},
	} {
		if got := KindOf(c.p); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
		if c.want == Hello {
			whole := c.p[:len(c.p)-len(c.p)%300]
			for n := 1; n < 300; n++ {
				if got := KindOf(whole[:n]); got != Partial {
					t.Fatalf("%s, %d bytes of it: got %d, want %d", name, n, got, Partial)
				}
			}
		}
	}
}

// What a connection begins with does not depend on how much of it has come, once that is known.
func FuzzKindOf(f *testing.F) {
	f.Add([]byte{22, 3, 1, 0, 6, clientHello, 0, 0, 2, 3, 3})
	f.Add([]byte{22, 3, 1, 0, 1, clientHello, 22, 3, 1, 0, 5, 0, 0, 2, 3, 3})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		known := Partial
		for n := 1; n <= min(len(p), 2000); n++ {
			got := KindOf(p[:n])
			if known != Partial && got != known {
				t.Fatalf("%d bytes of %x: got %d, want %d, as before", n, p, got, known)
			}
			known = got
		}
	})
}
