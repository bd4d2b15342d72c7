package test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// This file judges what was said in one group of a cluster, and what each member heard of it. It is pure: it knows neither servers nor
// sockets nor time, and is tested with histories alone.
//
//   - What was answered ok was heard by every member from where it stood to the last message, exactly once, at the offset of the answer.
//   - What was only refused, busy or unavailable, was heard by nobody.
//   - What was answered unknown, or lost its connection before it was answered, was heard by all or by nobody, and at most once.
//   - A message that was repeated with its key is one message.
//   - Members of all nodes heard the same messages in the same order, and an offset is one message.
//   - What one publisher said, and was told ok at once, was heard in the order in which it said it.
//   - Each publish has an answer.

// The answers to a publish. It is cut if its connection ended before it was answered, which its publisher knows, so it is no silence.
const (
	saidOK          = "ok"
	saidBusy        = "busy"
	saidUnavailable = "unavailable"
	saidUnknown     = "unknown"
	saidCut         = "cut"
	saidNothing     = "" // silence
)

// utterance is one message of a publisher, in the order in which it said them. A message that was refused may be said again, one of
// unknown fate only with its key.
type utterance struct {
	publisher int
	text      string // no other message has it
	keyed     bool
	answers   []told // of each attempt
}

// told is what one attempt was told.
type told struct {
	code   string
	offset uint64 // of ok
}

// heard is one message as a member heard it.
type heard struct {
	offset uint64 // 0: the member's protocol tells none
	text   string
}

// hearing is what a member heard without a gap that it knows of: from where it joined to its end, over all times that it was given what
// it had missed.
type hearing struct {
	who      string
	from     uint64  // it stood behind this offset when it began; of a member that is told no offsets 0: it was there from the first message on
	anywhere bool    // it is told no offsets, and began in the middle
	heard    []heard // in order
	ended    bool    // it heard the last message, so nothing may be missing; otherwise it ended earlier
}

// verdict is what the judge has found.
type verdict struct {
	faults                              []string
	ok, busy, unavailable, unknown, cut int // attempts by their answers
	lateHeard                           int // messages of unknown fate that were heard
	repeated                            int // attempts that repeated by its key a message that may have been heard
	messages                            int // in the one order
}

func (v *verdict) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// judgeGroup compares what was said in a group with what was heard. last is the text of the last message: what comes behind it is of unknown
// fate, and need not be heard by those who have ended.
func judgeGroup(all []utterance, hearings []hearing, last string) *verdict {
	v := &verdict{}
	order := v.oneOrder(hearings)
	v.messages = len(order)
	end := slices.IndexFunc(order, func(m heard) bool { return m.text == last }) + 1
	for _, h := range hearings {
		v.complete(h, order, end)
	}
	places := map[string][]uint64{} // offsets of each text
	for _, m := range order {
		places[m.text] = append(places[m.text], m.offset)
	}
	v.answers(all, places)
	v.fifo(all, places)
	return v
}

// oneOrder gives the order of all messages that somebody heard, by offset. A group is judged by members that are told offsets; there must be one.
func (v *verdict) oneOrder(hearings []hearing) []heard {
	at := map[uint64]string{}
	by := map[uint64]string{}
	numbered := false
	for _, h := range hearings {
		last := h.from
		for _, m := range h.heard {
			if m.offset == 0 {
				continue
			}
			numbered = true
			if m.offset <= last {
				v.fault("%s heard %q at offset %d, after offset %d", h.who, m.text, m.offset, last)
			}
			last = m.offset
			if text, known := at[m.offset]; known && text != m.text {
				v.fault("%s heard %q at offset %d, where %s heard %q", h.who, m.text, m.offset, by[m.offset], text)
				continue
			}
			at[m.offset], by[m.offset] = m.text, h.who
		}
	}
	if !numbered {
		v.fault("nobody was told offsets: the order cannot be judged")
	}
	order := make([]heard, 0, len(at))
	for _, offset := range slices.Sorted(maps.Keys(at)) {
		order = append(order, heard{offset, at[offset]})
	}
	return order
}

// complete checks that a member heard all of the order from where it began to where it ended, each message once; if it has ended, the first
// end messages of the order at least.
func (v *verdict) complete(h hearing, order []heard, end int) {
	begin, _ := slices.BinarySearchFunc(order, h.from+1, func(m heard, offset uint64) int { return cmp.Compare(m.offset, offset) })
	if h.anywhere && len(h.heard) > 0 {
		if begin = slices.IndexFunc(order, func(m heard) bool { return m.text == h.heard[0].text }); begin < 0 {
			v.fault("%s heard %q, which nobody else heard", h.who, h.heard[0].text)
			return
		}
	}
	want := order[begin:]
	for i, m := range h.heard {
		if i == len(want) {
			v.fault("%s heard %d messages, from %q on, behind the last that others heard", h.who, len(h.heard)-i, m.text)
			return
		}
		if m.text != want[i].text {
			v.fault("%s heard %q at its place %d, want %q (offset %d)", h.who, m.text, i, want[i].text, want[i].offset)
			return
		}
	}
	if missed := end - begin - len(h.heard); h.ended && missed > 0 {
		v.fault("%s missed the last %d messages, from %q (offset %d) on", h.who, missed, want[len(h.heard)].text, want[len(h.heard)].offset)
	}
}

// answers checks what became of each message against what its publisher was told.
func (v *verdict) answers(all []utterance, places map[string][]uint64) {
	said := map[string]bool{}
	for _, u := range all {
		if said[u.text] {
			v.fault("%q was said by two publishers: the test is wrong", u.text)
		}
		said[u.text] = true
		offsets := places[u.text]
		var ok, open bool // told ok; its fate is not known
		if len(u.answers) == 0 {
			v.fault("%q was never answered", u.text)
		}
		for i, a := range u.answers {
			if open || ok {
				v.repeated++
				if !u.keyed {
					v.fault("%q has no key and was repeated after %q: the test is wrong", u.text, u.answers[i-1].code)
				}
			}
			switch a.code {
			case saidOK:
				v.ok++
				ok = true
				if len(offsets) > 0 && a.offset != offsets[0] {
					v.fault("%q was answered ok with offset %d, and heard at %d", u.text, a.offset, offsets[0])
				}
			case saidBusy:
				v.busy++
			case saidUnavailable:
				v.unavailable++
			case saidUnknown:
				v.unknown++
				open = true
			case saidCut:
				v.cut++
				open = true
			case saidNothing:
				v.fault("%q was never answered, attempt %d", u.text, i+1)
				open = true
			default:
				v.fault("%q was answered %q, want ok, busy, unavailable or unknown", u.text, a.code)
			}
		}
		switch n := len(offsets); {
		case n > 1:
			v.fault("%q was heard %d times, at offsets %d; its answers: %s", u.text, n, offsets, codes(u.answers))
		case ok && n == 0:
			v.fault("%q was answered ok and nobody heard it; its answers: %s", u.text, codes(u.answers))
		case !ok && open && n == 1:
			v.lateHeard++
		case !ok && !open && n == 1:
			v.fault("%q was refused (%s), and heard at offset %d", u.text, codes(u.answers), offsets[0])
		}
	}
	for _, text := range slices.Sorted(maps.Keys(places)) {
		if !said[text] {
			v.fault("%q was heard, and nobody said it", text)
		}
	}
}

func codes(answers []told) (list []string) {
	for _, a := range answers {
		list = append(list, a.code)
	}
	return list
}

// fifo checks the order of what one publisher said. What was refused and said again has its place by its last attempt, and what is unknown
// may come late: both are passed over.
func (v *verdict) fifo(all []utterance, places map[string][]uint64) {
	last := map[int]uint64{}
	for _, u := range all {
		if len(u.answers) != 1 || u.answers[0].code != saidOK || len(places[u.text]) != 1 {
			continue
		}
		at := places[u.text][0]
		if at < last[u.publisher] {
			v.fault("publisher %d said %q (offset %d) after what was heard at offset %d", u.publisher, u.text, at, last[u.publisher])
		}
		last[u.publisher] = max(last[u.publisher], at)
	}
}
