package dialect

import "strings"

// pusherPath begins the path of each client of the Pusher protocol. The key of its app follows.
const pusherPath = "/app/"

// The versions of the Pusher protocol that are spoken. From 5 on the data of an event is a string, as it is here.
const (
	pusherVersionLeast = 5
	pusherVersionMost  = 7
)

// PusherRequest reads what a client of the Pusher protocol says by the path that it requests and the query behind it, without its question
// mark: /app/KEY?protocol=7. ok is false if it is to be closed with the cause for that; the key is then the one of its path, if there is one.
func PusherRequest(path, query string) (key string, cause Cause, ok bool) {
	key, found := strings.CutPrefix(path, pusherPath)
	if !found || key == "" || strings.Contains(key, "/") {
		return "", CauseBadPath, false
	}
	for parameter := range strings.SplitSeq(query, "&") {
		if version, found := strings.CutPrefix(parameter, "protocol="); found {
			cause, ok = pusherVersion(version)
			return key, cause, ok
		}
	}
	return key, CauseNoVersion, false
}

// pusherVersion says whether a version of the protocol is spoken, and if not, with which cause to close who names it.
func pusherVersion(version string) (cause Cause, ok bool) {
	digits := strings.TrimLeft(version, "0")
	switch {
	case version == "" || strings.Trim(version, "0123456789") != "":
		return CauseVersionFormat, false
	case len(digits) != 1 || digits[0] < '0'+pusherVersionLeast || digits[0] > '0'+pusherVersionMost:
		return CauseBadVersion, false
	}
	return 0, true
}
