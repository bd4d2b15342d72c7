package check

import "fmt"

// Fault is a way in which a server can be wrong.
type Fault int

const (
	Lost         Fault = iota // a member never got a message, whether others got it or not
	Doubled                   // a member got a message again
	Swapped                   // a member got a publisher's message after a later one of the same publisher
	Disordered                // members saw two publishers' messages in different orders
	Altered                   // the text is not the one that was published
	Foreign                   // a message that was never sent, or not to this group, or to no member
	Cut                       // a connection ended before the bench ended it
	Failed                    // a client could not connect or join, or was not answered
	Contradicted              // members heard something else than the answer to a publish says
	Unanswered                // a publish was never answered, and its connection did not end
	Kinds                     // how many there are
)

var names = [Kinds]string{"lost", "doubled", "swapped", "disordered", "altered", "foreign", "cut off", "failed", "contradicted", "unanswered"}

// String is the name of the fault in results.
func (f Fault) String() string { return names[f] }

// examplesMax bounds the examples of each kind: enough to find the place, too few to fill a disk when a server loses
// everything. The counts are always exact.
const examplesMax = 10

// Faults counts what went wrong and names the first of each kind. Owner: one generator; merged after the run.
type Faults struct {
	Counts   [Kinds]uint64
	Examples [Kinds][]string
	Notes    []string // limits that the check itself has reached
}

// Add counts n faults of a kind; the sentence is built only while examples are still kept.
func (f *Faults) Add(kind Fault, n uint64, format string, args ...any) {
	f.Counts[kind] += n
	if len(f.Examples[kind]) < examplesMax {
		f.Examples[kind] = append(f.Examples[kind], fmt.Sprintf(format, args...))
	}
}

// Note adds a limit that the check has reached: with one the verdict is not fine.
func (f *Faults) Note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// Merge adds what others found.
func (f *Faults) Merge(other *Faults) {
	for kind := range Kinds {
		f.Counts[kind] += other.Counts[kind]
		room := examplesMax - len(f.Examples[kind])
		f.Examples[kind] = append(f.Examples[kind], other.Examples[kind][:min(room, len(other.Examples[kind]))]...)
	}
	f.Notes = append(f.Notes, other.Notes...)
}

// Fine says that nothing was wrong, and that the check was complete.
func (f *Faults) Fine() bool { return f.Counts == [Kinds]uint64{} && len(f.Notes) == 0 }
