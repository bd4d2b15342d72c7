package dialect

// Who is a user as others are told of it: of who has said a message, who comes and goes, and who is there. It outlives the client, and
// nobody writes it once a client has it.
type Who struct {
	User      string // the name by which backends know it; empty: it has none
	Info      []byte // JSON on one line: what its connection's token says of it; nil: nothing
	GroupInfo []byte // JSON on one line: what its token for the group says of it; nil: nothing
}

// TextBytesMax is more than what a text has that tells of the user, in bytes, if each byte of the name is escaped; of nil it is 0.
func (w *Who) TextBytesMax() int {
	if w == nil {
		return 0
	}
	return 6*len(w.User) + len(w.Info) + len(w.GroupInfo) + whoMembersBytes
}

// whoMembersBytes is more than what stands around that.
const whoMembersBytes = 64

// Present is a client that is there, as others are told of it.
type Present struct {
	Client uint64 // its number, as in Outcome.Client
	Who    *Who   // nil: it has not said who it is
}
