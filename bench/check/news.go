package check

import "math/bits"

// News is what short-lived clients have heard of one publisher: which messages there were, and when each was due. It shows
// that a client missed the first message after its join: other clients heard it.
//
// Pure. Owner: the generator of the lives.
type News struct {
	next  uint32 // after the highest number that any client heard
	items int    // length of the ring, a power of two
	ring  []item // message n at n modulo items; nil before the first
}

// item is one message; after is its number and one more, so that the zero item is none.
type item struct {
	after uint32
	due   int64
}

const (
	// newsItems bounds the memory of all rings, 64 MiB. What a ring has dropped is not expected of any client.
	newsItems = 4 << 20
	// ringItemsMax is more than one publisher sends while a client stays.
	ringItemsMax = 1 << 16
)

// NewNews is one for each of so many publishers.
func NewNews(publishers int) []News {
	all := make([]News, publishers)
	for i := range all {
		all[i].items = 1 << (bits.Len(uint(max(1, min(newsItems/publishers, ringItemsMax)))) - 1)
	}
	return all
}

// Next is one more than the highest number that any client heard.
func (n *News) Next() uint32 { return n.next }

// Note records that a client heard message sequence.
func (n *News) Note(sequence uint32, due int64) {
	if n.ring == nil {
		n.ring = make([]item, n.items)
	}
	n.next = max(n.next, sequence+1)
	if at := &n.ring[sequence&uint32(len(n.ring)-1)]; at.after <= sequence {
		*at = item{sequence + 1, due}
	}
}

// Since counts the messages right before number end that were due after a time, back to the first one whose due time is
// not known. What was due after a time was sent after it, because nothing is sent early.
func (n *News) Since(at int64, end uint32) (count uint32) {
	for count < end && int(count) < len(n.ring) {
		sequence := end - count - 1
		if known := n.ring[sequence&uint32(len(n.ring)-1)]; known.after != sequence+1 || known.due <= at {
			break
		}
		count++
	}
	return count
}
