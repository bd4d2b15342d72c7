package main

import (
	"strings"
	"testing"
)

func TestMaskIsItsOwnInverseAndFramesHaveTheRightLength(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 65535, 65536} {
		payload := []byte(strings.Repeat("x", n))
		key := [4]byte{1, 2, 3, 4}
		frame := appendFrame(nil, opText, payload, key)
		body := frame[len(frame)-n:]
		for i := range body {
			if body[i] != 'x'^key[i%4] {
				t.Fatalf("payload of %d: byte %d is not masked by the rule of RFC 6455, 5.3", n, i)
			}
		}
		frame[1] &= 0x7F // a server's frame is the same without mask and key
		h, err := parseHeader(frame)
		if err != nil || h.payload != n || h.size != len(frame)-n-4 {
			t.Errorf("payload of %d: got %+v, %v", n, h, err)
		}
	}
}

func TestAnUpgradeMayBeOneOfSeveralConnectionTokens(t *testing.T) {
	u := newUpgrade(target{host: "h", path: "/"})
	answer := func(connection string) []byte {
		return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: " + connection + "\r\nSec-WebSocket-Accept: " + u.accept + "\r\n\r\n")
	}
	for connection, good := range map[string]bool{"Upgrade": true, "keep-alive, upgrade": true, "keep-alive": false, "upgraded": false} {
		if _, err := u.check(answer(connection)); (err == nil) != good {
			t.Errorf("Connection: %s: got %v, want it accepted: %v", connection, err, good)
		}
	}
}
