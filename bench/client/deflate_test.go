package client

import (
	"bytes"
	"compress/flate"
	"strings"
	"testing"
)

// packed is texts as one sender compresses them, one after the other; with takeover each may refer to those before.
func packed(t *testing.T, takeover bool, texts ...string) (all [][]byte) {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		b.Reset()
		if !takeover {
			w.Reset(&b)
		}
		w.Write([]byte(text))
		w.Flush()
		all = append(all, bytes.Clone(b.Bytes()[:b.Len()-4]))
	}
	return all
}

func TestACompressedMessageIsInflatedOnceAndOnlyTheSameBytesBringItAgain(t *testing.T) {
	text := strings.Repeat("the quick brown fox ", 20)
	p := packed(t, false, text+"1", text+"2", strings.Repeat("x", 5000))
	if len(p[0]) != len(p[1]) {
		t.Fatalf("the test needs two messages of one length, has %d and %d bytes", len(p[0]), len(p[1]))
	}
	var i inflated
	for range 3 {
		for n, want := range []string{text + "1", text + "2"} {
			if got, err := i.unpack(bytes.Clone(p[n]), 1000); err != nil || string(got) != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
	}
	if len(i.known) != 2 {
		t.Errorf("%d messages were inflated, want 2", len(i.known))
	}
	if _, err := i.unpack(p[2], 4999); err == nil || !strings.Contains(err.Error(), "over 4999 bytes") {
		t.Errorf("a message of 5000 bytes: got %v", err)
	}
	if got, err := i.unpack(p[2], 5000); err != nil || len(got) != 5000 {
		t.Errorf("got %d bytes, %v, want 5000", len(got), err)
	}
	for range 100 {
		i.bytes = inflatedBytesMax
		if _, err := i.unpack(packed(t, false, text+"3")[0], 1000); err != nil || len(i.known) > 4 {
			t.Fatalf("got %v and %d known messages where their bound is reached", err, len(i.known))
		}
	}
}

func TestWhatCannotBeInflatedByItselfIsRefused(t *testing.T) {
	text := strings.Repeat("the quick brown fox ", 20)
	good := packed(t, false, text)[0]
	var last bytes.Buffer
	w, _ := flate.NewWriter(&last, flate.DefaultCompression)
	w.Write([]byte(text))
	w.Close()
	for name, c := range map[string]struct {
		payload []byte
		good    bool
	}{
		"a message alone":               {good, true},
		"a last block":                  {append(last.Bytes(), 0), true}, // RFC 7692, section 7.2.3.4
		"an empty message":              {[]byte{0}, true},               // section 7.2.3.6
		"one that refers to another":    {packed(t, true, text, text)[1], false},
		"half a message":                {good[:len(good)/2], false},
		"something behind a last block": {append(bytes.Clone(last.Bytes()), 0, 1, 2, 3), false},
		"garbage":                       {bytes.Repeat([]byte{0xFF}, 40), false},
		"nothing at all":                {nil, false},
	} {
		var i inflated
		got, err := i.unpack(c.payload, 1000)
		if c.good != (err == nil) || c.good && len(c.payload) > 1 && string(got) != text {
			t.Errorf("%s: got %.30q, %v, want it accepted: %v", name, got, err, c.good)
		}
	}
}

func TestOnlyAnAgreedExtensionIsAccepted(t *testing.T) {
	u := newUpgrade(Target{Host: "h", Path: "/", Compression: true})
	for lines, want := range map[string]string{
		"permessage-deflate; server_no_context_takeover":                                "",
		"permessage-deflate;server_no_context_takeover ; client_no_context_takeover":    "",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=\"15\"": "",
		"permessage-deflate": "without server_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": "twice",
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=15":  "which was not offered",
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=16":  "which was not offered",
		"permessage-deflate; server_no_context_takeover=1":                           "which was not offered",
		"x-webkit-deflate-frame": "which was not offered",
		"permessage-deflate; server_no_context_takeover\r\nSec-WebSocket-Extensions: permessage-deflate": "which was not offered",
		"permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover": "which was not offered",
		"permessage-deflate; server_no_context_takeover\r\nSec-WebSocket-Protocol: chat":                 "which was not offered",
		"": "--compression on",
	} {
		header := "Sec-WebSocket-Extensions: " + lines + "\r\n"
		if lines == "" {
			header = ""
		}
		_, packs, err := u.check([]byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + u.accept + "\r\n" + header + "\r\n"))
		if (want == "") != (err == nil) || packs != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", lines, packs, err, want)
		}
	}
	plain := newUpgrade(Target{Host: "h", Path: "/"})
	if _, _, err := plain.check([]byte("HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + plain.accept +
		"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n")); err == nil {
		t.Error("an extension was accepted that was not offered")
	}
	for first, good := range map[byte]bool{0x81: true, 0xC1: true, 0xC2: true, 0xA1: false, 0x91: false, 0xE1: false, 0xC9: false, 0xC8: false} {
		if h, err := parseHeader([]byte{first, 0}, frameBytesMax, true); (err == nil) != good || h.packed != (good && first&0x40 != 0) {
			t.Errorf("a frame with %#x where compression was agreed on: got %+v, %v", first, h, err)
		}
	}
	if _, err := parseHeader([]byte{0xC1, 0}, frameBytesMax, false); err == nil {
		t.Error("a compressed frame was accepted where that was not agreed on")
	}
}

func TestWhatClientsCompressIsTheirText(t *testing.T) {
	g, c, _, _ := centrifugeClient(t, stateReady)
	long, noise := strings.Repeat("to be said, ", 50), make([]byte, 300)
	for i, state := 0, uint32(1); i < len(noise); i++ {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	for text, packs := range map[string]bool{long: true, "short": false, string(noise): false} {
		c.packs = true
		frame := g.AppendText(nil, c, []byte(text))
		if got := frame[0]&0x40 != 0; got != packs || packs && len(frame) >= len(text) {
			t.Errorf("%.20q became a frame of %d bytes, compressed: %v, want %v", text, len(frame), got, packs)
		}
		if packs {
			size := len(frame) - 6
			if frame[1] == 0x80|126 {
				size -= 2
			}
			body := frame[len(frame)-size:]
			Mask(body, [4]byte(frame[len(frame)-size-4:]))
			var i inflated
			if got, err := i.unpack(body, 1000); err != nil || string(got) != text {
				t.Errorf("got %.20q, %v back", got, err)
			}
		}
		c.packs = false
		if frame := g.AppendText(nil, c, []byte(text)); frame[0] != 0x81 {
			t.Errorf("without an agreement a frame begins with %#x", frame[0])
		}
	}
}
