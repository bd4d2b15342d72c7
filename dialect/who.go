package dialect

// Who is a user as others are told of it: of who has said a message, who comes and goes, and who is there. It outlives the client, and
// nobody writes it once a client has it.
type Who struct {
	User      string // the name by which backends know it; empty: it has none
	Info      []byte // JSON on one line: what its connection's token says of it; nil: nothing
	GroupInfo []byte // JSON on one line: what its token for the group says of it; nil: nothing
}
