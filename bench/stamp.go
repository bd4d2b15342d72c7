package main

// A message text is a stamp and a filling:
//
//	pppp sssss dddddddd xxxxxxxx…    4 signs publisher, 5 signs sequence, 8 signs due time, then the filling
//
// Each sign holds 6 bits. The signs need no JSON escape, so that --size is the number of bytes delivered, and they are
// of fixed width, so that a delivery is decoded without a branch per sign and without an allocation.
const (
	stampPublisherSigns = 4 // 16 million publishers
	stampSequenceSigns  = 5 // a thousand million messages a publisher
	stampDueSigns       = 8 // 78 hours in nanoseconds since the start of the process
	stampBytes          = stampPublisherSigns + stampSequenceSigns + stampDueSigns

	sequenceMax = 1<<(6*stampSequenceSigns) - 1

	// probePublisher marks the messages that only prove a join. No publisher has this number.
	probePublisher = 1<<(6*stampPublisherSigns) - 1

	signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
)

// stamp says which message this is. due is the time at which the message was to be sent, not when it was: a generator
// or server that stalls makes later messages late, and hiding that is called coordinated omission.
type stamp struct {
	publisher uint32
	sequence  uint32
	due       int64
}

const noSign = 0xFF

var signValue = func() (table [256]byte) {
	for i := range table {
		table[i] = noSign
	}
	for i := range signs {
		table[signs[i]] = byte(i)
	}
	return table
}()

func appendStamp(dst []byte, s stamp) []byte {
	dst = appendSigns(dst, uint64(s.publisher), stampPublisherSigns)
	dst = appendSigns(dst, uint64(s.sequence), stampSequenceSigns)
	return appendSigns(dst, uint64(s.due), stampDueSigns)
}

func appendSigns(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, signs[v>>(6*i)&63])
	}
	return dst
}

// readStamp decodes the head of a message text.
func readStamp(text []byte) (stamp, bool) {
	if len(text) < stampBytes {
		return stamp{}, false
	}
	var bad byte // gathers the bits that no sign has, so that one test at the end serves all
	publisher := readSigns(text[:stampPublisherSigns], &bad)
	sequence := readSigns(text[stampPublisherSigns:stampPublisherSigns+stampSequenceSigns], &bad)
	due := readSigns(text[stampPublisherSigns+stampSequenceSigns:stampBytes], &bad)
	return stamp{uint32(publisher), uint32(sequence), int64(due)}, bad&0xC0 == 0
}

func readSigns(b []byte, bad *byte) uint64 {
	var v uint64
	for _, c := range b {
		d := signValue[c]
		*bad |= d
		v = v<<6 | uint64(d&63)
	}
	return v
}

// filling is the constant rest of each message of a run. It is compared on every delivery, so that bytes that belong to
// another message or to nobody are seen.
func filling(size int) []byte {
	b := make([]byte, size-stampBytes)
	for i := range b {
		b[i] = signs[(i*7+11)&63]
	}
	return b
}
