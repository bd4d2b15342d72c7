package client

import "testing"

func TestAnUpgradeMayBeOneOfSeveralConnectionTokens(t *testing.T) {
	u := newUpgrade(Target{Host: "h", Path: "/"})
	answer := func(connection string) []byte {
		return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: " + connection + "\r\nSec-WebSocket-Accept: " + u.accept + "\r\n\r\n")
	}
	for connection, good := range map[string]bool{"Upgrade": true, "keep-alive, upgrade": true, "keep-alive": false, "upgraded": false} {
		if _, _, err := u.check(answer(connection)); (err == nil) != good {
			t.Errorf("Connection: %s: got %v, want it accepted: %v", connection, err, good)
		}
	}
}
