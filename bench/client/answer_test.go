package client

import (
	"encoding/json"
	"testing"
)

func TestAPublishIsTheCommandOfTheSeedProtocol(t *testing.T) {
	for _, c := range []struct{ key, want string }{
		{"", `{"cmd":"send_to_group","group_id":"g","id":17,"message":"hello"}`},
		{"k-1", `{"cmd":"send_to_group","group_id":"g","id":17,"key":"k-1","message":"hello"}`},
	} {
		got := AppendPublish(nil, "g", 17, []byte(c.key), []byte("hello"))
		if string(got) != c.want || !json.Valid(got) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestAnAnswerToAPublishIsReadWhateverItSays(t *testing.T) {
	for text, want := range map[string]Answered{
		`{"id":7,"ok":true,"seq":12}`:                                       {ID: 7, OK: true, Seq: 12},
		`{"id":7,"ok":true,"seq":0}`:                                        {ID: 7, OK: true},
		`{"ok":true, "seq":9007199254740991, "id":7}`:                       {ID: 7, OK: true, Seq: 9007199254740991},
		`{"id":7,"error":{"code":"busy","message":"x"}}`:                    {ID: 7, Code: "busy"},
		`{"id":4294967295,"error":{"code":"unknown","message":"no \"}\""}}`: {ID: 4294967295, Code: "unknown"},
	} {
		if got, err := ReadAnswer([]byte(text)); got != want || err != nil {
			t.Errorf("%s: got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "hello", `{"id":7}`, `{"id":7,"ok":true}`, `{"ok":true,"seq":1}`, `{"id":7,"ok":false,"seq":1}`, `{"id":"x","ok":true,"seq":1}`,
		`{"id":7,"ok":true,"seq":1}x`, `{"id":7,"ok":true,"seq":-1}`, `{"id":7,"ok":true,"seq":1,"error":{"code":"busy"}}`, `{"id":7,"error":{}}`} {
		if got, err := ReadAnswer([]byte(text)); err == nil {
			t.Errorf("%s: got %+v, want an error", text, got)
		}
	}
}
