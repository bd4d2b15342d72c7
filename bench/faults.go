package main

import "fmt"

// fault is a way in which a server can be wrong.
type fault int

const (
	faultLost       fault = iota // a member never got a message that others, or nobody, got
	faultDoubled                 // a member got a message again
	faultSwapped                 // a member got a publisher's message after a later one of the same publisher
	faultDisordered              // members saw two publishers' messages in different orders
	faultAltered                 // the text is not the one that was published
	faultForeign                 // a message that was never sent, or not to this group, or to no member
	faultCut                     // a connection ended before the bench ended it
	faultFailed                  // a client could not come in, or was not answered
	faultKinds
)

var faultNames = [faultKinds]string{"lost", "doubled", "swapped", "disordered", "altered", "foreign", "cut off", "failed"}

func (f fault) String() string { return faultNames[f] }

// faultExamplesMax bounds what is kept word by word of each kind: enough to find the place, not enough to fill a disk
// when a server loses everything. The counts are always exact.
const faultExamplesMax = 10

// faults counts what went wrong and names the first of each kind. Owner: one generator; merged after the run.
type faults struct {
	counts   [faultKinds]uint64
	examples [faultKinds][]string
	notes    []string // limits that the check itself ran into
}

// add counts n faults of a kind; the sentence is built only while examples are still kept.
func (f *faults) add(kind fault, n uint64, format string, args ...any) {
	f.counts[kind] += n
	if len(f.examples[kind]) < faultExamplesMax {
		f.examples[kind] = append(f.examples[kind], fmt.Sprintf(format, args...))
	}
}

func (f *faults) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

func (f *faults) merge(other *faults) {
	for kind := range faultKinds {
		f.counts[kind] += other.counts[kind]
		room := faultExamplesMax - len(f.examples[kind])
		f.examples[kind] = append(f.examples[kind], other.examples[kind][:min(room, len(other.examples[kind]))]...)
	}
	f.notes = append(f.notes, other.notes...)
}

func (f *faults) fine() bool { return f.counts == [faultKinds]uint64{} && len(f.notes) == 0 }
