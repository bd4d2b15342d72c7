package check

import "fmt"

// Fillings are the rest of the messages of a run after their stamps, by the number of a message.
type Fillings [][]byte

// Of is that of a message.
func (f Fillings) Of(sequence uint32) []byte { return f[int(sequence)%len(f)] }

const (
	objectFillings = 16 // different ones: so many that a compressor does not see the same again at once
	objectSeed     = 18
)

// ObjectFillings are like JSON of applications: a list of objects with the same keys, whose values are numbers, names, times, words and
// random identifiers. In place of " there is ', as in a string of JSON each " would have to be escaped, which would make two lengths of
// one text; a compressor makes the same of both. The same size gives the same fillings, in every process.
func ObjectFillings(size int) Fillings {
	d := dice(objectSeed<<32 | uint64(size))
	all := make(Fillings, objectFillings)
	for i := range all {
		b := []byte("[")
		for len(b) < size-StampBytes {
			b = appendObject(b, &d)
		}
		all[i] = b[:size-StampBytes]
	}
	return all
}

var (
	objectTypes = []string{"message", "reaction", "typing", "presence", "order", "price"}
	objectNames = []string{"maria", "chen", "olu", "priya", "jonas", "amelie", "diego", "yuki", "fatima", "sam"}
	objectWords = []string{"the", "meeting", "is", "at", "noon", "please", "send", "me", "a", "new", "link", "thanks", "order", "shipped", "to",
		"customer", "price", "went", "up", "again", "who", "can", "look", "into", "this", "ticket", "today", "we", "see", "it", "on", "production"}
)

// dice is a generator that gives the same numbers everywhere: splitmix64.
type dice uint64

func (d *dice) IntN(n int) int { return int(d.bits() % uint64(n)) }

// bits are 31 random ones.
func (d *dice) bits() uint64 {
	*d += 0x9E3779B97F4A7C15
	return scatter(uint64(*d)) >> 33
}

func appendObject(b []byte, r *dice) []byte {
	b = fmt.Appendf(b, "{'id':%d,'type':'%s','user':{'id':'%08x','name':'%s'},'at':'2026-%02d-%02dT%02d:%02d:%02d.%03dZ','value':%d.%02d,'text':'",
		100_000+r.IntN(900_000), objectTypes[r.IntN(len(objectTypes))], r.bits(), objectNames[r.IntN(len(objectNames))],
		1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), r.IntN(1000), r.IntN(100))
	for n := range 4 + r.IntN(12) {
		if n > 0 {
			b = append(b, ' ')
		}
		b = append(b, objectWords[r.IntN(len(objectWords))]...)
	}
	return append(b, "'},"...)
}
