package test

import (
	"strings"
	"testing"
)

// What a client of the Centrifuge protocol may get wrong, on purpose or not: each has its answer or its close code, and nobody else
// notices.
func TestHostileCentrifugeClientsHarmNobody(t *testing.T) {
	t.Parallel()
	s := start(t, "--history", "10", "--presence", "on", "--message-max", "4MiB")
	millions := strings.Repeat("{}\n", 1_000_000)
	nested := func(deep int) string { return strings.Repeat("[", deep) + strings.Repeat("]", deep) }
	cases := []struct {
		what, said, answer string
		code               int // 0: it stays
	}{
		{"subscribe twice", `{"id":2,"subscribe":{"channel":"a"}}` + "\n" + `{"id":3,"subscribe":{"channel":"a"}}`, `{"id":3,"error":{"code":105,`, 0},
		{"unsubscribe of what one is not in", `{"id":2,"unsubscribe":{"channel":"b"}}`, `{"id":2,"unsubscribe":{}}`, 0},
		{"an id of 0", `{"id":0,"subscribe":{"channel":"a"}}`, "", 3501},
		{"an id of 2⁶⁴", `{"id":18446744073709551616,"subscribe":{"channel":"a"}}`, "", 3501},
		{"a million commands", millions, "", 3013},
		{"a million connects", `{"id":1,"connect":{}}` + "\n" + millions, "", 3501},
		{"a position from the future", `{"id":2,"subscribe":{"channel":"c","recover":true,"offset":9000000000000000}}`, `"was_recovering":true`, 0},
		{"an epoch of a megabyte", `{"id":2,"subscribe":{"channel":"c","recover":true,"epoch":"` + strings.Repeat("e", 1<<20) + `"}}`, `"was_recovering":true`, 0},
		{"a channel of a megabyte", `{"id":2,"subscribe":{"channel":"` + strings.Repeat("c", 1<<20) + `"}}`, `{"id":2,"error":{"code":107,`, 0},
		{"data nested 500 deep", `{"id":2,"publish":{"channel":"d","data":` + nested(500) + `}}`, `{"id":2,"publish":{}}`, 0},
		{"data nested 10,000 deep", `{"id":2,"publish":{"channel":"d","data":` + nested(10_000) + `}}`, "", 3501},
		{"presence of a stranger's group", `{"id":2,"presence":{"channel":"e"}}`, `{"id":2,"error":{"code":103,`, 0},
		{"history since nowhere", `{"id":2,"subscribe":{"channel":"f"}}` + "\n" + `{"id":3,"history":{"channel":"f","since":{"offset":7,"epoch":"x"}}}`, `{"id":3,"error":{"code":112,`, 0},
		{"a number of no method", `{"id":2,"subscribe":7}`, "", 3501},
		{"two methods", `{"id":2,"subscribe":{"channel":"a"},"publish":{"channel":"a","data":1}}`, "", 3501},
	}
	besides(t, s, func(t *testing.T) {
		for _, c := range cases {
			client := dial(t, s, dialing{path: centrifugePath})
			must(t, client.text(`{"id":1,"connect":{}}`))
			if _, err := client.next(); err != nil {
				t.Fatalf("%s: connect: %v", c.what, err)
			}
			must(t, client.text(c.said))
			if c.code > 0 {
				if code, err := client.closeCode(); code != c.code {
					t.Errorf("%s: got close %d, %v; want %d", c.what, code, err, c.code)
				}
				continue
			}
			for heard := ""; !strings.Contains(heard, c.answer); {
				text, err := client.next()
				if err != nil {
					t.Errorf("%s: got %v, want an answer with %s", c.what, err, c.answer)
					break
				}
				heard = text
				if strings.Contains(text, `"recovered":true`) {
					t.Errorf("%s: recovered: %.200s", c.what, text)
				}
			}
		}
	})
	if total := s.status().Total; total.Panics != 0 {
		t.Errorf("got %d panics", total.Panics)
	}
}
