package door

import (
	"strings"
	"testing"
)

// The vectors of Pusher's documentation, and one of a channel with encryption.
func TestSignaturesOfPushersDocumentationAreGood(t *testing.T) {
	const socket = "1234.1234"
	auth := func(hex string) []byte { return []byte(theApp.Key + ":" + hex) }
	for _, c := range []struct{ channel, data, signature string }{
		{"private-foobar", "", "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"},
		{"private-encrypted-foo", "", "e85caab4331194145d44feae15aea9539ea50631afacbc593a9555ceadc42357"},
		{"presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`, "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"},
	} {
		var data []byte
		if c.data != "" {
			data = []byte(c.data)
		}
		if !theApp.SignsChannel(auth(c.signature), socket, c.channel, data) {
			t.Errorf("%s: the signature is refused", c.channel)
		}
		other := theApp
		other.Secret += "x"
		for what, good := range map[string]bool{
			"another socket":       theApp.SignsChannel(auth(c.signature), "1234.1235", c.channel, data),
			"another channel":      theApp.SignsChannel(auth(c.signature), socket, c.channel+"x", data),
			"other data":           theApp.SignsChannel(auth(c.signature), socket, c.channel, append([]byte(" "), data...)),
			"data that are empty":  c.data == "" && theApp.SignsChannel(auth(c.signature), socket, c.channel, []byte{}),
			"no data":              c.data != "" && theApp.SignsChannel(auth(c.signature), socket, c.channel, nil),
			"data in the name":     theApp.SignsChannel(auth(c.signature), socket, c.channel+":"+c.data, nil),
			"another secret":       other.SignsChannel(auth(c.signature), socket, c.channel, data),
			"another key":          theApp.SignsChannel([]byte("x"+string(auth(c.signature))), socket, c.channel, data),
			"no key":               theApp.SignsChannel([]byte(":"+c.signature), socket, c.channel, data),
			"no colon":             theApp.SignsChannel([]byte(c.signature), socket, c.channel, data),
			"nothing":              theApp.SignsChannel(nil, socket, c.channel, data),
			"a key alone":          theApp.SignsChannel(auth(""), socket, c.channel, data),
			"a part of it":         theApp.SignsChannel(auth(c.signature[:62]), socket, c.channel, data),
			"more than it":         theApp.SignsChannel(auth(c.signature+"00"), socket, c.channel, data),
			"no hexadecimal":       theApp.SignsChannel(auth("xy"+c.signature[2:]), socket, c.channel, data),
			"one bit another":      theApp.SignsChannel(auth(c.signature[:63]+string(c.signature[63]^1)), socket, c.channel, data),
			"as it were of a user": theApp.SignsUser(auth(c.signature), socket, data),
		} {
			if good {
				t.Errorf("%s, %s: it is taken", c.channel, what)
			}
		}
	}
	const user, signature = `{"id":"12345"}`, "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba"
	if !theApp.SignsUser(auth(signature), socket, []byte(user)) {
		t.Error("a user: the signature is refused")
	}
	if theApp.SignsUser(auth(signature), socket, []byte(`{"id":"12346"}`)) || theApp.SignsUser(auth(signature), "1234.1235", []byte(user)) ||
		theApp.SignsUser([]byte(strings.Replace(string(auth(signature)), "278d", "378d", 1)), socket, []byte(user)) {
		t.Error("a user: a signature of something else is taken")
	}
	// What a backend signs for a user must be good for no channel, whatever it is called.
	if theApp.SignsChannel(auth(signature), socket, ":user:", []byte(user)) || theApp.SignsChannel(auth(signature), socket, ":user::"+user, nil) ||
		theApp.SignsChannel(auth(signature), socket, "", []byte("user::"+user)) {
		t.Error("the signature of a user is good for a channel")
	}
}

// The text is signed as it was sent, and never one that means the same.
func TestDataAreVerifiedAsTheyWereSent(t *testing.T) {
	const sent = `{"user_id": "u\u0031" , "user_info":{"url":"http:\/\/x"}}`
	signature := hmacHex(theApp.Secret, "1.2:presence-a:"+sent)
	if !theApp.SignsChannel([]byte(theApp.Key+":"+signature), "1.2", "presence-a", []byte(sent)) {
		t.Error("as it was sent: refused")
	}
	if theApp.SignsChannel([]byte(theApp.Key+":"+signature), "1.2", "presence-a", []byte(`{"user_id":"u1","user_info":{"url":"http://x"}}`)) {
		t.Error("encoded again: taken")
	}
}
