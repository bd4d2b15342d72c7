package dialect

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"ringcast/wsproto"
)

// replyText takes the one text frame apart that a reply must be.
func replyText(t *testing.T, frame []byte) string {
	t.Helper()
	payloadBytes := int(frame[1])
	header := 2
	if payloadBytes == 126 {
		payloadBytes, header = int(frame[2])<<8|int(frame[3]), 4
	}
	if frame[0] != 0x81 || header+payloadBytes != len(frame) {
		t.Fatalf("got % x, want one final text frame", frame)
	}
	return string(frame[header:])
}

func TestRepliesEchoTheID(t *testing.T) {
	for _, test := range []struct {
		frame []byte
		want  string
	}{
		{AppendOK(nil, []byte("7")), `{"id":7,"ok":true}`},
		{AppendOK(nil, []byte(`"a\"b"`)), `{"id":"a\"b","ok":true}`},
		{AppendOK(nil, nil), `{"id":null,"ok":true}`},
		{AppendSeq(nil, []byte("7"), 12), `{"id":7,"ok":true,"seq":12}`},
		{AppendRepeated(nil, []byte("7"), 12), `{"id":7,"ok":true,"seq":12,"repeated":true}`},
		{AppendRepeated(nil, nil, 0), `{"id":null,"ok":true,"seq":0,"repeated":true}`},
		{AppendSeq(nil, []byte(`"`+strings.Repeat("a", 126)+`"`), 1), `{"id":"` + strings.Repeat("a", 126) + `","ok":true,"seq":1}`},
		{AppendError(nil, []byte("7"), ErrBadMessage), `{"id":7,"error":{"code":"bad_message","message":"send_to_group needs a message, not larger than the server takes"}}`},
		{AppendError(nil, nil, ErrBadID), `{"id":null,"error":{"code":"bad_id","message":"id must be a string or an integer of at most 128 bytes of JSON"}}`},
	} {
		if got := replyText(t, test.frame); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestFrameLengthIsRightForEverySizeOfSeq(t *testing.T) {
	check := func(seq uint64) {
		text := replyText(t, AppendSeq(nil, []byte("1"), seq))
		var reply struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(text), &reply); err != nil || reply.Seq != seq {
			t.Errorf("seq %d: got %s (%v)", seq, text, err)
		}
	}
	check(0)
	for power := uint64(1); ; power *= 10 {
		check(power - 1)
		check(power)
		check(power + 1)
		if power > math.MaxUint64/10 {
			break
		}
	}
	for shift := range 64 {
		check(1 << shift)
		check(1<<shift - 1)
	}
	check(math.MaxUint64)
}

func TestRepliesAppendBehindWhatIsThere(t *testing.T) {
	dst := AppendOK([]byte("before"), []byte("1"))
	if !bytes.HasPrefix(dst, []byte("before\x81")) {
		t.Errorf("got %q, want it behind what was there", dst)
	}
}

func TestEveryErrorCodeHasASentenceThatFitsIntoJSON(t *testing.T) {
	for _, code := range []ErrorCode{ErrBadJSON, ErrUnknownCmd, ErrBadGroupID, ErrBadMessage, ErrBadID, ErrTooManyGroups, ErrGroupFull, ErrGroupsFull, ErrForbidden, ErrRateLimited, ErrBusy, ErrStopping, ErrAlreadyJoined, ErrNotMember, ErrNotAvailable, ErrUnrecoverable, ErrBadKey, ErrUnavailable, ErrUnconfirmed, "new"} {
		sentence := code.Sentence()
		if code != "new" && sentence == ErrorCode("new").Sentence() {
			t.Errorf("%s has no sentence of its own", code)
		}
		var reply struct {
			Error struct{ Code, Message string }
		}
		text := replyText(t, AppendError(nil, []byte("1"), code))
		if err := json.Unmarshal([]byte(text), &reply); err != nil || reply.Error.Code != string(code) || reply.Error.Message != sentence {
			t.Errorf("%s: got %s (%v), want the code and %q in it", code, text, err, sentence)
		}
	}
}

func TestEncodingAllocatesNothingWithRoom(t *testing.T) {
	dst := make([]byte, 0, 1024)
	id, payload := []byte("7"), make([]byte, 500)
	for name, encode := range map[string]func(){
		"frame": func() { wsproto.AppendFrame(dst, wsproto.OpText, payload) },
		"ok":    func() { AppendOK(dst, id) },
		"seq":   func() { AppendSeq(dst, id, 12345) },
		"again": func() { AppendRepeated(dst, id, 12345) },
		"error": func() { AppendError(dst, id, ErrBusy) },
		"close": func() { wsproto.AppendClose(dst, wsproto.CloseGoingAway, "bye") },
		"pong":  func() { wsproto.AppendPong(dst, id) },
	} {
		if got := testing.AllocsPerRun(100, encode); got != 0 {
			t.Errorf("%s: got %v allocations, want 0", name, got)
		}
	}
}

func TestGapIsOneWholeFrame(t *testing.T) {
	for messages, want := range map[uint64]string{
		1:         "\x81\x1c" + `{"event":"gap","messages":1}`,
		12:        "\x81\x1d" + `{"event":"gap","messages":12}`,
		1<<64 - 1: "\x81\x2f" + `{"event":"gap","messages":18446744073709551615}`,
	} {
		if got := string(AppendGap(nil, messages)); got != want || len(got) > GapBytesMax {
			t.Errorf("gap of %d: got %q of at most %d bytes, want %q", messages, got, GapBytesMax, want)
		}
	}
}
