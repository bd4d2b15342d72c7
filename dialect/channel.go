package dialect

import "strings"

// Channel is what the name of a channel says of it, in the Pusher protocol. A channel is the group of its name; where it is one of an app
// other than the first, the group's name has the app's id and a slash before it.
type Channel struct {
	Private   bool   // its members show a signature: private-, and presence- too
	Encrypted bool   // only who has a secret can read it, and its members send nothing: private-encrypted-
	Presence  bool   // it has presence, and its members are users: presence-
	Cache     bool   // who comes is told the last event: cache-, behind what else there is
	User      bool   // it is for a user, whose clients alone may join it: #server-to-user-
	UserID    string // User: that user's
}

// ChannelBytesMax bounds the name of a channel that a client names, in bytes.
const ChannelBytesMax = 164

// channelEnd stands behind the id of an app in the name of a group. No channel's name has one.
const channelEnd = "/"

// How the names of channels begin that are not for everybody, or keep their last event.
const (
	userChannel      = "#server-to-user-"
	privateChannel   = "private-"
	encryptedChannel = "encrypted-" // behind privateChannel
	presenceChannel  = "presence-"
	cacheChannel     = "cache-" // behind any of these, or none
)

// ChannelOf is the channel that a group is, by its name.
func ChannelOf(group string) (c Channel) {
	name := ChannelName(group)
	if c.UserID, c.User = strings.CutPrefix(name, userChannel); c.User {
		return c
	}
	c.UserID = ""
	if rest, found := strings.CutPrefix(name, privateChannel); found {
		c.Private, name = true, rest
		if rest, c.Encrypted = strings.CutPrefix(name, encryptedChannel); c.Encrypted {
			name = rest
		}
	} else if rest, c.Presence = strings.CutPrefix(name, presenceChannel); c.Presence {
		c.Private, name = true, rest
	}
	c.Cache = strings.HasPrefix(name, cacheChannel)
	return c
}

// ChannelName is the name of the channel that a group is: what stands behind the id of an app.
func ChannelName(group string) string {
	if _, channel, found := strings.Cut(group, channelEnd); found {
		return channel
	}
	return group
}

// IsChannel says whether a channel may be named so, in at most so many bytes.
func IsChannel[T string | []byte](name T, most int) bool {
	start := 0
	if len(name) > 0 && name[0] == '#' {
		start = 1
	}
	for i := start; i < len(name); i++ {
		if c := name[i]; c-'0' > 9 && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("-_=@,.;", c) < 0 {
			return false
		}
	}
	return start < len(name) && len(name) <= most
}
