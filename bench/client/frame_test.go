package client

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
		h, err := parseHeader(frame, frameBytesMax, false)
		if err != nil || h.payload != n || h.size != len(frame)-n-4 {
			t.Errorf("payload of %d: got %+v, %v", n, h, err)
		}
	}
}
