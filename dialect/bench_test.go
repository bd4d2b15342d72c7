package dialect

import (
	"bytes"
	"strings"
	"testing"

	"ringcast/wsproto"
)

// sink keeps the compiler from dropping what a benchmark makes.
var sink []byte

func BenchmarkReply(b *testing.B) {
	dst := make([]byte, 0, 64<<10)
	payload := bytes.Repeat([]byte("a"), 64)
	b.Run("ok", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = AppendOK(dst, payload[:1])
		}
	})
	b.Run("seq", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = AppendSeq(dst, payload[:1], 1_234_567)
		}
	})
	b.Run("error", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = AppendError(dst, payload[:1], ErrBadGroupID)
		}
	})
}

func BenchmarkCommand(b *testing.B) {
	for _, test := range []struct{ name, payload string }{
		{"join", `{"cmd":"add_group", "group_id":"123"}`},
		{"send-64B", `{"cmd":"send_to_group","group_id":"123","message":"` + strings.Repeat("a", 64) + `"}`},
		{"send-64B-id", `{"cmd":"send_to_group","group_id":"123","message":"` + strings.Repeat("a", 64) + `","id":1234}`},
		{"send-escaped", `{"cmd":"send_to_group","group_id":"123","message":"` + strings.Repeat(`{\"a\":1}\n`, 8) + `"}`},
		{"send-4KiB", `{"cmd":"send_to_group","group_id":"123","message":"` + strings.Repeat("a", 4<<10) + `"}`},
		{"send-object", `{"cmd":"send_to_group","group_id":"123","message":{"user":"u1","tags":[1,2,3],"text":"` + strings.Repeat("a", 64) + `"}}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			var p CommandParser
			payload := []byte(test.payload)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				cmd, code := p.Parse(payload)
				if code != "" {
					b.Fatal(code)
				}
				sink = cmd.Group
			}
		})
	}
}

func BenchmarkCentrifuge(b *testing.B) {
	c := newCentrifuge()
	text := strings.Repeat("a", 64)
	for _, test := range []struct{ name, payload string }{
		{"pong", `{}`},
		{"subscribe", `{"subscribe":{"channel":"123","flag":1},"id":2}`},
		{"publish-64B", `{"publish":{"channel":"123","data":{"text":"` + text + `"}},"id":1234}`},
		{"publish-4KiB", `{"publish":{"channel":"123","data":"` + strings.Repeat("a", 4<<10) + `"},"id":1234}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			payload := []byte(test.payload)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				cmd, _, code := c.Next(payload, false)
				if code != "" {
					b.Fatal(code)
				}
				sink = cmd.Group
			}
		})
	}
	for _, test := range []struct {
		name string
		m    Message
	}{
		{"push-64B-text", Message{Group: "123", Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte(text)))}},
		{"push-64B-json", Message{Group: "123", Wire: string(wsproto.AppendFrame(nil, wsproto.OpText, []byte(`{"text":"`+text+`"}`))), JSON: true, SenderSerial: 1}},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = c.Encode(&test.m)
			}
		})
	}
}

func BenchmarkPusher(b *testing.B) {
	p := newPusher()
	text := strings.Repeat("a", 64)
	for _, test := range []struct{ name, payload string }{
		{"ping", `{"event":"pusher:ping","data":{}}`},
		{"subscribe", `{"event":"pusher:subscribe","data":{"auth":"","channel":"123"}}`},
		{"client-event-64B", `{"event":"client-x","data":{"text":"` + text + `"},"channel":"private-123"}`},
	} {
		b.Run(test.name, func(b *testing.B) {
			payload := []byte(test.payload)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				cmd, _, code := p.Next(payload, false)
				if code != "" {
					b.Fatal(code)
				}
				sink = cmd.Group
			}
		})
	}
	for _, test := range []struct {
		name string
		m    *Message
	}{
		{"event-64B-text", message("123", text, false)},
		{"event-64B-json", with(message("123", `{"text":"`+text+`"}`, true), More{Tags: []byte(`{"event":"said"}`)})},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = p.Encode(test.m)
			}
		})
	}
}
