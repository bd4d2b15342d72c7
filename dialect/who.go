package dialect

// WhoIs is what is said of a user.
type WhoIs struct {
	User      string // the name by which backends know it, at most 65,535 bytes; empty: it has none
	Info      []byte // JSON on one line: what its connection's token says of it; empty: nothing
	GroupInfo []byte // JSON on one line: what its token for the group says of it; empty: nothing
	NumberID  bool   // User is the text of a JSON integer, and not of a string, where its app has named it
}

// Who is a user as others are told of it: of who has said a message, who comes and goes, and who is there. It outlives the client, and
// nobody writes it. There is one for each client that is a user, so it takes 24 bytes and its text; as WhoIs it would take 80 and three texts.
type Who struct {
	text     string // the name, and behind it both infos
	info     uint32 // bytes of the first of these
	user     uint16 // bytes of the name
	numberID bool
}

// Who is the user of whom that is said. It shares no memory with it.
func (is WhoIs) Who() *Who {
	return &Who{text: is.User + string(is.Info) + string(is.GroupInfo), info: uint32(len(is.Info)), user: uint16(len(is.User)), numberID: is.NumberID}
}

// User is as in WhoIs.
func (w *Who) User() string { return w.text[:w.user] }

// Info is as in WhoIs; nil: nothing. The caller must not write it.
func (w *Who) Info() []byte { return borrowed(w.text[w.user:][:w.info]) }

// GroupInfo is as in WhoIs; nil: nothing. The caller must not write it.
func (w *Who) GroupInfo() []byte { return borrowed(w.text[uint32(w.user)+w.info:]) }

// NumberID is as in WhoIs.
func (w *Who) NumberID() bool { return w.numberID }

// Bytes is how many bytes its text takes.
func (w *Who) Bytes() int { return len(w.text) }

// TextBytesMax is more than what a text has that tells of the user, in bytes, if each byte of the name is escaped; of nil it is 0.
func (w *Who) TextBytesMax() int {
	if w == nil {
		return 0
	}
	return 5*int(w.user) + len(w.text) + whoMembersBytes
}

// whoMembersBytes is more than what stands around that.
const whoMembersBytes = 64

// Present is a client that is there, as others are told of it.
type Present struct {
	Client uint64 // its number, as in Outcome.Client; of a client of another node of a cluster, the number that it has there
	Name   string // of a client of another node its name, see Names; empty: it is one of this process
	Who    *Who   // nil: it has not said who it is
}
