package check

import "testing"

func TestOrdersOfTwoProcessesAreCompared(t *testing.T) {
	t.Parallel()
	digestOf := func(odd bool, ids ...uint64) Digest {
		o := newOrder(7, 2, &Faults{})
		for _, id := range ids {
			o.log = append(o.log, entry{id: id})
		}
		d := o.digest()
		d.Odd = odd
		return d
	}
	for name, c := range map[string]struct {
		a, b        Digest
		wrong, note bool
	}{
		"the same":              {digestOf(false, 1, 2, 3), digestOf(false, 1, 2, 3), false, false},
		"another order":         {digestOf(false, 1, 2, 3), digestOf(false, 1, 3, 2), true, false},
		"another set":           {digestOf(false, 1, 2, 3), digestOf(false, 1, 2), false, true},
		"disagreement in one":   {digestOf(true, 1, 2, 3), digestOf(false, 1, 3, 2), false, true},
		"nothing was published": {digestOf(false), digestOf(false), false, false},
	} {
		var f Faults
		CompareOrders([][]Digest{{c.a}, {c.b}}, &f)
		if wrong := f.Counts[Disordered] > 0; wrong != c.wrong || len(f.Notes) > 0 != c.note {
			t.Errorf("%s: got %v %q", name, f.Counts, f.Notes)
		}
	}
}
