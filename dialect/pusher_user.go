package dialect

import "unicode/utf8"

// UserBytesMax bounds the name of a user that an app has signed, in bytes: as much as a token can say.
const UserBytesMax = 255

// MemberOf is the user that the channel_data of a subscribe names, whose signature was checked: {"user_id":"ann","user_info":{…}}. The id may
// be an integer; what is told of the user is for the channel alone. nil: it names none. It shares no memory with data.
func MemberOf(data []byte) *Who { return signedUser(data, "user_id", true) }

// UserOf is the user that the user_data of a signin names, whose signature was checked: {"id":"ann","user_info":{…}}. The id is a string, or
// clients would not take the answer. nil: it names none. It shares no memory with data.
func UserOf(data []byte) *Who { return signedUser(data, "id", false) }

// signedUser is the user that a JSON object names by a key, and tells of by user_info; member: in a channel, and its id may be an integer.
func signedUser(data []byte, key string, member bool) *Who {
	if !utf8.Valid(data) {
		return nil
	}
	var r objectReader
	var id, info []byte
	o := r.object(data)
	for o.next() {
		switch string(o.key) {
		case key:
			id = o.value
		case "user_info":
			info = o.value
		}
	}
	if !o.valid() {
		return nil
	}
	who := WhoIs{}
	if member && isInteger(id) && isInt64(id) {
		who.User, who.NumberID = string(id), true
	} else if text, ok := r.short(id, UserBytesMax); ok {
		who.User = string(text)
	} else {
		return nil
	}
	if !isMissing(info) {
		who.Info = appendOneLine(make([]byte, 0, oneLineBytes(info)), info)
	}
	if member {
		who.Info, who.GroupInfo = nil, who.Info
	}
	return who.Who()
}
