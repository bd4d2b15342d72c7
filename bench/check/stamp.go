package check

// A message text is a stamp and a filling:
//
//	pppp sssss dddddddd xxxxxxxx…    4 characters publisher, 5 sequence, 8 due time, then the filling
//
// Each character holds 6 bits. They need no JSON escape, so that --size is the number of bytes delivered, and the fields
// have a fixed width, so that a delivery is decoded without a branch per character and without an allocation.
const (
	stampPublisherSigns = 4 // 16 million publishers
	stampSequenceSigns  = 5 // 10^9 messages per publisher
	stampDueSigns       = 8 // 78 hours in nanoseconds since the start of the process

	// StampBytes is the length of a stamp, and so of the shortest text.
	StampBytes = stampPublisherSigns + stampSequenceSigns + stampDueSigns

	// SequenceMax is the highest number that a message can have.
	SequenceMax = 1<<(6*stampSequenceSigns) - 1

	// probePublisher marks the messages that only prove a join. No publisher has this number.
	probePublisher = 1<<(6*stampPublisherSigns) - 1

	signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
)

// Stamp says which message this is. Due is the time at which the message was to be sent, not when it was: a generator
// or server that stalls delays later messages, and leaving that out of the figures is called coordinated omission.
type Stamp struct {
	Publisher uint32
	Sequence  uint32
	Due       int64
}

// IsProbe says that the message only proves a join, see Probe.
func (s Stamp) IsProbe() bool { return s.Publisher == probePublisher }

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

// AppendStamp appends the stamp of a message text.
func AppendStamp(dst []byte, s Stamp) []byte {
	dst = appendSigns(dst, uint64(s.Publisher), stampPublisherSigns)
	dst = appendSigns(dst, uint64(s.Sequence), stampSequenceSigns)
	return appendSigns(dst, uint64(s.Due), stampDueSigns)
}

func appendSigns(dst []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		dst = append(dst, signs[v>>(6*i)&63])
	}
	return dst
}

// ReadStamp decodes the stamp of a message text.
func ReadStamp(text []byte) (Stamp, bool) {
	if len(text) < StampBytes {
		return Stamp{}, false
	}
	var bad byte // collects the bits that no valid character has, so that one test at the end serves all
	publisher := readSigns(text[:stampPublisherSigns], &bad)
	sequence := readSigns(text[stampPublisherSigns:stampPublisherSigns+stampSequenceSigns], &bad)
	due := readSigns(text[stampPublisherSigns+stampSequenceSigns:StampBytes], &bad)
	return Stamp{uint32(publisher), uint32(sequence), int64(due)}, bad&0xC0 == 0
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

// Filling is the constant rest of each message of a run. It is compared on every delivery, so that bytes of another
// message, or of none, are noticed.
func Filling(size int) []byte {
	b := make([]byte, size-StampBytes)
	for i := range b {
		b[i] = signs[(i*7+11)&63]
	}
	return b
}

// Probe is the text of a message that proves a join of a group to each client that hears it. It has no filling.
func Probe(group int, due int64) []byte {
	return AppendStamp(nil, Stamp{Publisher: probePublisher, Sequence: uint32(group), Due: due})
}

// ReadProbe returns the group of a probe, or false for any other text.
func ReadProbe(text []byte) (group int, ok bool) {
	s, ok := ReadStamp(text)
	return int(s.Sequence), ok && s.IsProbe()
}
