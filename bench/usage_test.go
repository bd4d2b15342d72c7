package main

import (
	"strings"
	"testing"
)

func TestLimitNamesWhoWasSaturated(t *testing.T) {
	for _, c := range []struct {
		threads         []float64
		server, machine float64
		want            string
		void            bool
	}{
		{[]float64{0.2, 0.97}, 1, 0.99, "the generator: thread 1", true},
		{[]float64{0.5}, 1.2, 0.99, "the machine", false},
		{[]float64{0.5}, 0.99, 0.7, "perhaps the server", false},
		{[]float64{0.1}, 0.1, 0.2, "nobody", false},
		{[]float64{0.1}, -1, 0.2, "nobody", false},
	} {
		if got, void := limit(c.threads, c.server, c.machine); !strings.HasPrefix(got, c.want) || void != c.void {
			t.Errorf("%+v: got %q %v", c, got, void)
		}
	}
}
