package order

// Epoch is the life of a group's numbering: another one begins when the group is known anew after it was forgotten, and when its
// kind begins to have history. 0 is none.
type Epoch uint64

// Position is a place in what was said to a group: behind the message of this offset.
type Position struct {
	Offset uint64
	Epoch  Epoch
}

// Ask is what a request wants to know of a group's past. Nobody writes it once it is sent.
//
// In a join it asks for what was missed if Recover is set: all messages behind Since, or none, see Past. An epoch of 0 stands for
// any. Without Recover a join gets the position alone, as it does without an Ask.
//
// In an OpHistory: up to Limit messages, the oldest first, or with Reverse the newest first; with HasSince, or an offset in Since,
// only those behind Since, or with Reverse those before it, going down.
type Ask struct {
	Recover  bool     // OpJoin
	HasSince bool     // OpHistory: Since counts though its offset is 0
	Reverse  bool     // OpHistory
	Limit    int      // OpHistory: messages; 0: the position alone, below 0: all
	Since    Position // both

	// What may come back: so many messages, and so many bytes as Message.Bytes counts them. A recovery of more is none; a reading
	// of more is cut there, which is no error. 0: none.
	MessagesMax, BytesMax int
}

// Past is what a home says of a group's past. Its messages are shared with the group's history and with whoever else has asked, and
// count in no bound of a lane: an Ask's bounds hold for them. Nobody writes it once it is sent.
//
// Its messages are to be encoded by a dialect's Encode, not by Message.In: a form made by that may stay for as long as the history
// keeps the message, and no book knows of it.
type Past struct {
	Top       Position   // behind the newest message, whether that is kept or not
	Messages  []*Message // in the order that was asked for
	Recovered bool       // a join has asked for what it missed: that is Messages, all of it
	WasAsked  bool       // a join has asked for what it missed
	Lost      bool       // OpHistoryRead: Since is of another epoch, or messages behind it are kept no more
	NoHistory bool       // OpHistoryRead: groups of this kind have no history, so Top is zero too
}
