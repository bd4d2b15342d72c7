package main

import "math/bits"

// news is what passing clients have told of one publisher: which messages there were, and when each was due. It is how
// a client that missed the first message after its join is found out: by those who heard it.
//
// Pure. Owner: the generator of the lives.
type news struct {
	next uint32 // after the highest number that anybody heard
	ring []item // message n at n modulo the length (a power of two); nil before the first
}

// item is one message; after is its number and one more, so that the zero item is none.
type item struct {
	after uint32
	due   int64
}

const (
	// newsItems bounds the memory of all rings, 64 MiB. What a ring has forgotten is not claimed from anybody.
	newsItems = 4 << 20
	// ringItemsMax is more than one publisher sends while a client stays.
	ringItemsMax = 1 << 16
)

// ringItems is the length of each ring when there are so many publishers.
func ringItems(publishers int) int {
	return 1 << (bits.Len(uint(max(1, min(newsItems/publishers, ringItemsMax)))) - 1)
}

// note takes in that somebody heard message sequence. items is the length of the ring.
func (n *news) note(sequence uint32, due int64, items int) {
	if n.ring == nil {
		n.ring = make([]item, items)
	}
	n.next = max(n.next, sequence+1)
	if at := &n.ring[sequence&uint32(len(n.ring)-1)]; at.after <= sequence {
		*at = item{sequence + 1, due}
	}
}

// since counts the messages right before number end that were due after a time, back to the first one of which that
// is not known. What was due after a time was sent after it, because nothing is sent early.
func (n *news) since(at int64, end uint32) (count uint32) {
	for count < end && int(count) < len(n.ring) {
		sequence := end - count - 1
		if known := n.ring[sequence&uint32(len(n.ring)-1)]; known.after != sequence+1 || known.due <= at {
			break
		}
		count++
	}
	return count
}
