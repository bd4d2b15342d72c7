package dialect

// ErrorCode says in an error reply why a command was not carried out. Codes are part of the protocol, as programs compare
// them, so they never change; sentences may.
type ErrorCode string

// The error codes. The empty code means that there is no error.
const (
	ErrBadJSON       ErrorCode = "bad_json"
	ErrUnknownCmd    ErrorCode = "unknown_cmd"
	ErrBadGroupID    ErrorCode = "bad_group_id"
	ErrBadMessage    ErrorCode = "bad_message"
	ErrBadKey        ErrorCode = "bad_key"
	ErrBadID         ErrorCode = "bad_id"
	ErrTooManyGroups ErrorCode = "too_many_groups"
	ErrGroupFull     ErrorCode = "group_full"
	ErrGroupsFull    ErrorCode = "groups_full"
	ErrForbidden     ErrorCode = "forbidden"
	ErrRateLimited   ErrorCode = "rate_limited"
	ErrBusy          ErrorCode = "busy"
	ErrStopping      ErrorCode = "stopping"
	ErrAlreadyJoined ErrorCode = "already_joined"
	ErrNotMember     ErrorCode = "not_member"
	ErrNotAvailable  ErrorCode = "not_available"
	ErrUnrecoverable ErrorCode = "unrecoverable"

	ErrTooManyMembers ErrorCode = "too_many_members"

	// Of the Pusher protocol alone.
	ErrBadChannel ErrorCode = "bad_channel"
	ErrBadEvent   ErrorCode = "bad_event"
	ErrBadUser    ErrorCode = "bad_user"
	ErrTooBig     ErrorCode = "too_big"

	// Of a publish in a cluster: nothing was sent; and it was sent, but whether it is heard is not known.
	ErrUnavailable ErrorCode = "unavailable"
	ErrUnconfirmed ErrorCode = "unknown"

	// What is wrong with a token. The plain dialect has one code for all of it, and different sentences.
	ErrBadToken     ErrorCode = "bad_token"
	ErrTokenExpired ErrorCode = "token_expired"
	ErrOtherToken   ErrorCode = "other_token" // it is valid, and for another user, another group or another use
	ErrUnauthorized ErrorCode = "unauthorized"
)

// sentences stand in replies between JSON quotes as they are: no quotes, no backslashes.
var sentences = map[ErrorCode]string{
	ErrBadJSON:       "the command must be one JSON object in UTF-8, nested at most 512 deep",
	ErrUnknownCmd:    "cmd must be add_group, leave_group, send_to_group or auth",
	ErrBadGroupID:    "group_id must be a string of 1 to 255 bytes, fewer if the server says so, or an integer of 64 bits",
	ErrBadMessage:    "send_to_group needs a message, not larger than the server takes",
	ErrBadKey:        "key must be a string of 1 to 255 bytes",
	ErrBadID:         "id must be a string or an integer of at most 128 bytes of JSON",
	ErrTooManyGroups: "this connection is in as many groups as it may be",
	ErrGroupFull:     "the group has as many members as it may have",
	ErrGroupsFull:    "the server has as many groups as it may have; try again later",
	ErrForbidden:     "this connection may not do that; perhaps a token is missing",
	ErrRateLimited:   "too much was sent within a second; slow down and repeat the command",
	ErrBusy:          "the server is too busy to accept this now; try again a little later",
	ErrStopping:      "the server is stopping; connect again and repeat the command",
	ErrAlreadyJoined: "this connection is a member of the group, or has asked to be",
	ErrNotMember:     "only members of the group may ask for this",
	ErrNotAvailable:  "the server does not offer this for the group",
	ErrUnrecoverable: "the history does not go on from this position: its epoch is another, or messages behind it are kept no more",

	ErrTooManyMembers: "the group has more members than are listed",

	ErrBadChannel: "a channel's name has 1 to 164 letters, digits or any of -_=@,.; and may begin with #",
	ErrBadEvent:   "a client event's name begins with client- and has at most 200 characters",
	ErrBadUser:    "what was signed of the user is not a JSON object with an id, a string or an integer, and perhaps user_info",
	ErrTooBig:     "the data of the event is longer than the app allows",

	ErrUnavailable: "too few machines of the cluster can be reached, and nothing was sent; repeat the command a little later",
	ErrUnconfirmed: "the message was sent and no word came in time: it may still be heard, once; a repeat with its key is not heard twice",

	ErrBadToken:     "the token is not valid here",
	ErrTokenExpired: "the token has expired; fetch a new one",
	ErrOtherToken:   "the token is not valid here",
	ErrUnauthorized: "only who has a token may connect",
}

// Sentence is one sentence for people on what the code means or what to do. It may stand in a JSON string as it is.
func (c ErrorCode) Sentence() string {
	if s, ok := sentences[c]; ok {
		return s
	}
	return "the command was refused"
}
