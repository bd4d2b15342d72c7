package dialect

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unsafe"

	"ringcast/wsproto"
)

// pushText is the text of a message as Centrifuge's clients are sent it: one frame, one line.
func pushText(t *testing.T, m *Message) []byte {
	t.Helper()
	frame := newCentrifuge().Encode(m)
	reader := wsproto.NewReader(1 << 24)
	_, event := reader.Next(wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, wsproto.TextPayload(frame)))
	text := wsproto.TextPayload(frame)
	if event.Kind != wsproto.EventText || !bytes.HasPrefix(frame, wsproto.AppendTextHeader(nil, len(text))) || len(frame) != wsproto.TextFrameBytes(len(text)) || bytes.ContainsAny(text, "\r\n") {
		t.Fatalf("got %.200q, want one text frame with one line", frame)
	}
	return text
}

// message is a message of a group.
func message(group, payload string, isJSON bool) *Message {
	return &Message{Group: group, Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte(payload))), JSON: isJSON}
}

func TestCentrifugePushes(t *testing.T) {
	named := message("chat", `{"n":1}`, true)
	named.SenderLoop, named.SenderSerial = 1, 2
	kept, first := *named, message("chat", "", false)
	kept.Kept, kept.Offset = true, 1<<64-1
	first.Kept, first.Offset = true, 1
	passing := message("chat", "", false)
	passing.Offset = 9
	name := string(newCentrifuge().clientName(nil, 129))
	user, tagged, passedOn, unkept := kept, *message("chat", "hi", false), *message("chat", "hi", false), kept
	elsewhere, odd, comes := *message("chat", "hi", false), *named, Message{Group: "chat", Sort: Came}
	elsewhere.More = &More{Client: "5d1", Who: WhoIs{User: "ann"}.Who()}
	odd.More, comes.More = &More{Client: "a\"\n"}, &More{Client: "5d2"} // of two names that of the other node counts
	user.More = &More{Who: WhoIs{User: "an\"n", Info: []byte(`{"name":"Ann"}`), GroupInfo: []byte(`[1]`)}.Who()}
	tagged.More, tagged.Kept, tagged.Offset = &More{Tags: []byte(`{"event":"a"}`)}, true, 2
	passedOn.More = &More{Who: WhoIs{User: "ann", Info: []byte(`1`)}.Who(), Tags: []byte(`{}`)}
	unkept.Kept, unkept.Offset, unkept.More = false, 0, &More{Unkept: true}
	for _, test := range []struct {
		m    *Message
		want string
	}{
		{message("chat", "hi", false), `{"push":{"channel":"chat","pub":{"data":"hi"}}}`},
		{message("chat", "", false), `{"push":{"channel":"chat","pub":{"data":""}}}`},
		{message("chat", `{"a":1}`, false), `{"push":{"channel":"chat","pub":{"data":"{\"a\":1}"}}}`},
		{message("chat", `{"a":1}`, true), `{"push":{"channel":"chat","pub":{"data":{"a":1}}}}`},
		{message("a\"b\n組", "null", true), `{"push":{"channel":"a\"b\n組","pub":{"data":null}}}`},
		{message("c", "[1,\r\n\n2 ,\t\"\\n\"\n]", true), `{"push":{"channel":"c","pub":{"data":[1,2 ,` + "\t" + `"\n"]}}}`},
		{message("c", "\x00\x1f\b\f\n\r\t\x7f\\/\u2028", false), `{"push":{"channel":"c","pub":{"data":"\u0000\u001f\b\f\n\r\t` + "\x7f" + `\\/` + "\u2028" + `"}}}`},
		{named, `{"push":{"channel":"chat","pub":{"data":{"n":1},"info":{"user":"","client":"` + name + `"}}}}`},
		{&kept, `{"push":{"channel":"chat","pub":{"data":{"n":1},"info":{"user":"","client":"` + name + `"},"offset":18446744073709551615}}}`},
		{&user, `{"push":{"channel":"chat","pub":{"data":{"n":1},"info":{"user":"an\"n","client":"` + name + `","conn_info":{"name":"Ann"},"chan_info":[1]},"offset":18446744073709551615}}}`},
		{&tagged, `{"push":{"channel":"chat","pub":{"data":"hi","offset":2,"tags":{"event":"a"}}}}`},
		{&passedOn, `{"push":{"channel":"chat","pub":{"data":"hi","info":{"user":"ann","client":"","conn_info":1},"tags":{}}}}`},
		{&elsewhere, `{"push":{"channel":"chat","pub":{"data":"hi","info":{"user":"ann","client":"5d1"}}}}`},
		{&odd, `{"push":{"channel":"chat","pub":{"data":{"n":1},"info":{"user":"","client":"a\"\n"}}}}`},
		{&comes, `{"push":{"channel":"chat","join":{"info":{"user":"","client":"5d2"}}}}`},
		{&unkept, `{"push":{"channel":"chat","pub":{"data":{"n":1},"info":{"user":"","client":"` + name + `"}}}}`},
		{first, `{"push":{"channel":"chat","pub":{"data":"","offset":1}}}`},
		{passing, `{"push":{"channel":"chat","pub":{"data":""}}}`},
	} {
		if got := string(pushText(t, test.m)); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.m.Payload(), got, test.want)
		}
	}
}

// samePush checks with encoding/json that what is pushed is the message.
func samePush(t *testing.T, m *Message) {
	t.Helper()
	var reply struct {
		Push struct {
			Channel string
			Pub     struct{ Data json.RawMessage }
		}
	}
	text := pushText(t, m)
	if err := json.Unmarshal(text, &reply); err != nil || reply.Push.Channel != m.Group {
		t.Fatalf("group %q, %.200q: got %.200s (%v)", m.Group, m.Payload(), text, err)
	}
	want, got := new(bytes.Buffer), new(bytes.Buffer)
	if m.JSON {
		if json.Compact(want, m.Payload()) != nil || json.Compact(got, reply.Push.Pub.Data) != nil {
			t.Fatalf("%.200q: got %.200s, want both JSON", m.Payload(), text)
		}
	} else {
		var s string
		if err := json.Unmarshal(reply.Push.Pub.Data, &s); err != nil {
			t.Fatalf("%.200q: got %.200s: %v", m.Payload(), text, err)
		}
		got.WriteString(s)
		want.Write(m.Payload())
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Fatalf("got %.200q, want %.200q", got, want)
	}
}

func TestCentrifugePushesWhatWasSaid(t *testing.T) {
	texts := []string{"", "hi", `"`, `\`, `"\`, `\"`, "\u2028\u2029", "\ufffd", "😀", `{"a":"`, `"]}`, "\n", "{}\n{}", "\x00", "a\x1fb", "7", "null",
		strings.Repeat("\x01", 70_000), strings.Repeat(`"`, 32_759), strings.Repeat("long ", 30_000)}
	for c := range byte(0x80) {
		texts = append(texts, string(rune(c)), "eight by"+string(rune(c)), string(rune(c))+"after it")
	}
	for size := 80; size < 130; size++ { // the header grows at 126 bytes
		texts = append(texts, strings.Repeat("x", size))
	}
	for _, text := range texts {
		samePush(t, message("g", text, false))
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		samePush(t, message("g", "\r\n[\n"+string(quoted)+"\r,\n1.5e3\n]\n", true))
		if 0 < len(text) && len(text) <= GroupBytesMax {
			samePush(t, message(text, "hi", false))
		}
	}
}

// What an answer may have is bounded before it is made.
func TestTheBoundOfATextHoldsForANameOfAnotherNode(t *testing.T) {
	bare, named := message("g", "hi", false), message("g", "hi", false)
	named.More = &More{Client: strings.Repeat("\x01", 100), Tags: []byte(`{"a":"b"}`), Who: WhoIs{User: "ann"}.Who()}
	if got, most := len(pushText(t, named))-len(pushText(t, bare)), named.More.TextBytesMax(); got <= 600 || got > most {
		t.Errorf("got %d bytes more, bound %d", got, most)
	}
}

// order.Message is this and a pointer, and fills a cache line.
func TestAMessageNamesItsSenderInWhatWasPadding(t *testing.T) {
	if got := unsafe.Sizeof(Message{}); got != 56 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("got a message of %d bytes, want 56", got)
	}
	for _, test := range []struct {
		loop   uint8
		serial uint32
		want   uint64
		named  bool
	}{{3, 0, 3, false}, {0, 1, 64, true}, {63, 1<<32 - 1, 1<<38 - 1, true}} {
		m := Message{SenderLoop: test.loop, SenderSerial: test.serial}
		if client, named := m.Sender(); named != test.named || named && client != test.want {
			t.Errorf("loop %d, serial %d: got client %d, named %v, want %d, %v", test.loop, test.serial, client, named, test.want, test.named)
		}
	}
}
