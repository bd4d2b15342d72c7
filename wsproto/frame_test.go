package wsproto

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// unhex decodes hexadecimal with spaces in it.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("bad hex in the test: %v", err)
	}
	return b
}

// rfcMask is the masking key of the examples in RFC 6455 §5.7.
var rfcMask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func TestFramesAreThoseOfTheRFC(t *testing.T) {
	for _, test := range []struct {
		name string
		got  []byte
		want string // front of the frame
		size int
	}{
		{"unmasked text", AppendFrame(nil, OpText, []byte("Hello")), "81 05 48 65 6c 6c 6f", 7},
		{"masked text", AppendMaskedFrame(nil, OpText, rfcMask, []byte("Hello")), "81 85 37 fa 21 3d 7f 9f 4d 51 58", 11},
		{"ping", AppendPing(nil, []byte("Hello")), "89 05 48 65 6c 6c 6f", 7},
		{"masked pong", AppendMaskedFrame(nil, OpPong, rfcMask, []byte("Hello")), "8a 85 37 fa 21 3d 7f 9f 4d 51 58", 11},
		{"256 bytes", AppendFrame(nil, OpBinary, make([]byte, 256)), "82 7e 01 00", 4 + 256},
		{"64 KiB", AppendFrame(nil, OpBinary, make([]byte, 65536)), "82 7f 00 00 00 00 00 01 00 00", 10 + 65536},
	} {
		want := unhex(t, test.want)
		if got := test.got[:min(len(test.got), len(want))]; !bytes.Equal(got, want) {
			t.Errorf("%s: got % x, want % x", test.name, got, want)
		}
		if len(test.got) != test.size {
			t.Errorf("%s: got %d bytes, want %d", test.name, len(test.got), test.size)
		}
	}
}

func TestEachLengthTakesItsShortestForm(t *testing.T) {
	for _, test := range []struct {
		payloadBytes int
		want         string
	}{
		{0, "81 00"}, {125, "81 7d"}, {126, "81 7e 00 7e"}, {65535, "81 7e ff ff"},
		{65536, "81 7f 00 00 00 00 00 01 00 00"},
	} {
		got := AppendTextHeader(nil, test.payloadBytes)
		if want := unhex(t, test.want); !bytes.Equal(got, want) {
			t.Errorf("header of %d bytes: got % x, want % x", test.payloadBytes, got, want)
		}
		if whole := append(got, make([]byte, test.payloadBytes)...); len(TextPayload(whole)) != test.payloadBytes {
			t.Errorf("payload of a text frame of %d bytes: got %d bytes", test.payloadBytes, len(TextPayload(whole)))
		}
		if got, want := TextFrameBytes(test.payloadBytes), len(got)+test.payloadBytes; got != want {
			t.Errorf("TextFrameBytes(%d): got %d, want %d", test.payloadBytes, got, want)
		}
	}
}

func TestFramesAreReadByTheLibraryAsTheyWereMeant(t *testing.T) {
	for _, size := range []int{0, 1, 15, 16, 17, 125, 126, 1000, 65535, 65536} {
		payload := bytes.Repeat([]byte("ringcast"), size/8+1)[:size]
		before := bytes.Clone(payload)
		encoded := bytes.NewReader(AppendMaskedFrame(nil, OpText, rfcMask, payload))
		header, err := ws.ReadHeader(encoded)
		if err != nil || header.Length != int64(encoded.Len()) {
			t.Fatalf("%d bytes: got a header of %d with %d behind it (%v)", size, header.Length, encoded.Len(), err)
		}
		masked := make([]byte, header.Length)
		encoded.Read(masked)
		frame := ws.UnmaskFrameInPlace(ws.Frame{Header: header, Payload: masked})
		if !bytes.Equal(frame.Payload, before) || frame.Header.OpCode != OpText || !frame.Header.Fin {
			t.Errorf("%d bytes: got %d bytes of op %v, want the payload in a final text frame", size, len(frame.Payload), frame.Header.OpCode)
		}
		if !bytes.Equal(payload, before) {
			t.Errorf("%d bytes: the caller's payload was changed", size)
		}
	}
}

func TestControlPayloadsAreCutToWhatMayBeSent(t *testing.T) {
	long := make([]byte, 200)
	if got, want := len(AppendPing(nil, long)), 2+controlBytesMax; got != want {
		t.Errorf("ping: got %d bytes, want %d", got, want)
	}
	if got, want := len(AppendPong(nil, long)), 2+controlBytesMax; got != want {
		t.Errorf("pong: got %d bytes, want %d", got, want)
	}
}
