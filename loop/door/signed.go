package door

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// SignsChannel says whether a backend of the app has let the connection with a socket id into a channel, with data, as it was sent, if
// there are any: nil is none. auth is the app's key, a colon and the signature in hexadecimal. It takes a microsecond or two.
func (a *App) SignsChannel(auth []byte, socketID, channel string, data []byte) bool {
	if channel == "" || strings.Contains(channel, ":") { // else what is signed for one could be read as another with data, or as a user
		return false
	}
	text := socketID + ":" + channel
	if data != nil {
		text += ":" + string(data)
	}
	return a.signs(auth, text)
}

// SignsUser says whether a backend of the app has said that the user of the connection with a socket id is whom data tells of, as they
// were sent.
func (a *App) SignsUser(auth []byte, socketID string, data []byte) bool {
	return a.signs(auth, socketID+"::user::"+string(data))
}

// signs says whether auth is the app's signature of a text.
func (a *App) signs(auth []byte, text string) bool {
	key, signature, is := bytes.Cut(auth, []byte(":"))
	return is && string(key) == a.Key && a.hasSigned(text, signature)
}

// hasSigned says whether a signature in hexadecimal is the app's of a text. How long it takes tells nothing of the right one.
func (a *App) hasSigned(text string, signature []byte) bool {
	var got [sha256.Size]byte
	if len(signature) != hex.EncodedLen(len(got)) {
		return false
	}
	if _, err := hex.Decode(got[:], signature); err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text))
	var want [sha256.Size]byte
	return hmac.Equal(got[:], mac.Sum(want[:0]))
}
