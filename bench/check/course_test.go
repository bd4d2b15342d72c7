package check

import (
	"fmt"
	"strings"
	"testing"
)

// courseOf is a course of two clients and two publishers.
func courseOf() (*Course, *Faults) {
	f := &Faults{}
	c := NewCourse(2, 2, func(member int) string { return fmt.Sprint("client ", member) }, f)
	c.Join(0, "e", 0)
	c.Join(1, "e", 0)
	return c, f
}

// said is what was published, in the order of the offsets: publisher and number.
var said = [][2]int{{0, 0}, {1, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}}

// hear lets a client hear the messages with some offsets.
func hear(c *Course, member int, offsets ...int) {
	for _, offset := range offsets {
		c.Saw(member, said[offset-1][0], uint32(said[offset-1][1]), uint64(offset))
	}
}

func TestACourseFindsWhatIsWrongOverAllLives(t *testing.T) {
	for name, c := range map[string]struct {
		hears func(c *Course)
		want  string // the only fault; empty: none
	}{
		"all, in one life":  {func(c *Course) { hear(c, 1, 1, 2, 3, 4, 5, 6) }, ""},
		"all, in two lives": {func(c *Course) { hear(c, 1, 1, 2); c.Position(1); hear(c, 1, 3, 4, 5, 6) }, ""},
		"one not":           {func(c *Course) { hear(c, 1, 1, 2, 4, 5, 6) }, "1 lost: client 1 never got publisher 0's #1"},
		"one twice":         {func(c *Course) { hear(c, 1, 1, 2, 3, 3, 4, 5, 6) }, "1 doubled: client 1 got publisher 0's #1 again, after its #1"},
		"the last not":      {func(c *Course) { hear(c, 1, 1, 2, 3, 4, 5) }, "1 lost: client 1 never got publisher 1's #2"},
		"two of one publisher in turns": {func(c *Course) { hear(c, 1, 1, 2, 3, 4, 6, 5) },
			"1 swapped: client 1 got publisher 1's #1 after its #2"},
		"two of two publishers in turns": {func(c *Course) { hear(c, 1, 1, 2, 3, 5, 4, 6) },
			"1 disordered: client 1 got publisher 0's #2 with the offset 4, after the offset 5"},
		"other offsets than others": {func(c *Course) { hear(c, 1, 1, 2, 3); c.Saw(1, 1, 1, 4); hear(c, 1, 6); c.Saw(1, 0, 2, 7) },
			"1 disordered: client 1 got publisher 1's #1 with the offset 4, which others got with publisher 0's #2"},
		"no offset": {func(c *Course) { hear(c, 1, 1, 2, 3, 4, 5); c.Saw(1, 1, 2, 0) }, "1 altered: client 1 got publisher 1's #2 with the offset 0"},
		"an offset from the future": {func(c *Course) { hear(c, 1, 1, 2, 3, 4, 5); c.Saw(1, 1, 2, 1<<53+1) },
			"1 altered: client 1 got publisher 1's #2 with the offset 9007199254740993"},
		"anew, and then all":           {func(c *Course) { hear(c, 1, 1); c.Anew(1, "e", 3); hear(c, 1, 4, 5, 6) }, ""},
		"anew, and the first not":      {func(c *Course) { hear(c, 1, 1); c.Anew(1, "e", 4); hear(c, 1, 6) }, "1 lost: client 1 never got publisher 1's #1"},
		"anew, and nothing":            {func(c *Course) { hear(c, 1, 1); c.Anew(1, "e", 4) }, "2 lost: client 1 never got publisher 1's #1 to #2"},
		"anew, and one twice":          {func(c *Course) { c.Anew(1, "e", 3); hear(c, 1, 4, 4, 5, 6) }, "1 doubled: client 1 got publisher 0's #2 again, after its #2"},
		"anew, and in turns":           {func(c *Course) { c.Anew(1, "e", 4); hear(c, 1, 6, 5) }, "1 swapped: client 1 got publisher 1's #1 after its #2"},
		"anew at the end":              {func(c *Course) { hear(c, 1, 1); c.Anew(1, "e", 6) }, ""},
		"anew, with a loss before it":  {func(c *Course) { hear(c, 1, 1, 4); c.Anew(1, "e", 6) }, "1 lost: client 1 never got publisher 0's #1"},
		"anew twice":                   {func(c *Course) { c.Anew(1, "e", 1); hear(c, 1, 2, 3); c.Anew(1, "e", 5); hear(c, 1, 6) }, ""},
		"anew in another epoch":        {func(c *Course) { hear(c, 1, 1, 2); c.Anew(1, "f", 0); c.Saw(1, 0, 2, 1); c.Saw(1, 1, 2, 2) }, ""},
		"anew in a group of no memory": {func(c *Course) { hear(c, 1, 1, 2); c.Anew(1, "", 0); c.Saw(1, 0, 2, 0) }, ""},
	} {
		course, f := courseOf()
		hear(course, 0, 1, 2, 3, 4, 5, 6)
		c.hears(course)
		complete := course.Complete([]uint32{3, 3}, []bool{false, false})
		course.Finish([]uint32{3, 3}, []bool{false, false})
		var got []string
		for kind := range Kinds {
			if f.Counts[kind] > 0 {
				got = append(got, fmt.Sprintf("%d %s: %s", f.Counts[kind], kind, f.Examples[kind][0]))
			}
		}
		if strings.Join(got, "; ") != c.want || len(f.Notes) > 0 {
			t.Errorf("%s: got %q %v, want %q", name, got, f.Notes, c.want)
		}
		if open := name == "the last not" || name == "anew, and nothing"; complete == open {
			t.Errorf("%s: got complete %v", name, complete)
		}
	}
}

// In a cluster offsets are those of many groups together.
func TestOffsetsNeedNotBeDense(t *testing.T) {
	c, f := courseOf()
	offsets := []uint64{7, 511, 512, 1 << 30, 1<<30 + 700, 1 << 52}
	tell := func(member int, which ...int) {
		for _, i := range which {
			c.Saw(member, said[i][0], uint32(said[i][1]), offsets[i])
		}
	}
	tell(0, 0, 1, 2, 3, 4, 5)
	tell(1, 0)
	c.Anew(1, "e", 512) // and so it owes the first message behind it of each publisher
	if c.Complete([]uint32{3, 3}, []bool{false, false}) {
		t.Error("got a course that does not wait for what it owes")
	}
	tell(1, 3, 5)
	c.Finish([]uint32{3, 3}, []bool{false, false})
	if got := f.Examples[Lost]; f.Counts[Lost] != 1 || len(got) != 1 || got[0] != "client 1 never got publisher 1's #1" || len(f.Notes) > 0 {
		t.Errorf("got %v %q %q, want publisher 1's #1 alone to be lost", f.Counts, got, f.Notes)
	}
	if n := len(c.epochs["e"].numbers); n != 5 {
		t.Errorf("got %d pages, want one for each that has a message", n)
	}
}

func TestWhatAGoneClientMissedIsOnlySummedUp(t *testing.T) {
	c, f := courseOf()
	hear(c, 0, 1, 2, 3, 4, 5, 6)
	hear(c, 1, 1, 2)
	if missed := c.Finish([]uint32{3, 3}, []bool{false, true}); missed != 4 || !f.Fine() {
		t.Errorf("got %d missed and %v, want 4 and no fault", missed, f.Counts)
	}
	if !c.Complete([]uint32{3, 3}, []bool{false, true}) {
		t.Error("got a course that waits for a client that is gone")
	}
}

func TestAPositionIsThatOfTheLastMessage(t *testing.T) {
	c, _ := courseOf()
	for _, step := range []struct {
		does   func()
		offset uint64
		epoch  string
	}{
		{func() {}, 0, "e"},
		{func() { hear(c, 1, 1, 2, 3) }, 3, "e"},
		{func() { hear(c, 1, 2) }, 3, "e"},
		{func() { c.Anew(1, "f", 9) }, 9, "f"},
		{func() { c.Anew(1, "", 0) }, 0, ""},
	} {
		step.does()
		if offset, epoch := c.Position(1); offset != step.offset || epoch != step.epoch {
			t.Errorf("got %d of %q, want %d of %q", offset, epoch, step.offset, step.epoch)
		}
	}
}
