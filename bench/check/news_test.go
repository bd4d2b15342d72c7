package check

import "testing"

func TestNewsClaimsOnlyWhatItKnows(t *testing.T) {
	n := &News{items: 4}
	for _, sequence := range []uint32{10, 11, 13, 14, 15} {
		n.Note(sequence, int64(sequence)*100)
	}
	for _, c := range []struct {
		at   int64
		end  uint32
		want uint32
	}{
		{1350, 16, 2}, // #14 and #15
		{1500, 16, 0}, // due at exactly that time may be sent before it
		{0, 16, 3},    // nobody heard #12
		{0, 12, 0},    // #11 was where #15 is now
		{0, 17, 0},
	} {
		if got := n.Since(c.at, c.end); got != c.want {
			t.Errorf("since(%d, %d): got %d, want %d", c.at, c.end, got, c.want)
		}
	}
	if n.next != 16 {
		t.Errorf("got next %d, want 16", n.next)
	}
}
