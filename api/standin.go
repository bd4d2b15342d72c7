package api

import "ringcast/dialect"

// TODO: replaced by the types of package loop.

type Said struct {
	Payload []byte
	JSON    bool
	Tags    []byte
	Who     *dialect.Who
	Key     string
	Unkept  bool
}

type Position struct{ Offset, Epoch uint64 }

type Receipt struct {
	Position Position
	Kept     bool
	Members  int
	Repeated bool
}

type Ask struct {
	HasSince              bool
	Reverse               bool
	Limit                 int
	Since                 Position
	MessagesMax, BytesMax int
}

type Past struct {
	Top      Position
	Messages []*dialect.Message
	Lost     bool
	None     bool
	Present  []Present
	Crowded  bool
	Users    int
	Members  int
}

type Present struct {
	Client uint64
	Who    *dialect.Who
}

type Target struct {
	User   string
	Client uint64
}

type GroupInfo struct {
	Name    string
	Members int
}

func whoOf(m *dialect.Message) *dialect.Who { return nil }
func tagsOf(m *dialect.Message) []byte      { return nil }
