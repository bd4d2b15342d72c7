package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// BenchmarkPublish is one keep-alive connection with one publish after the other, beside a handler of net/http that answers {}. The ratio
// of the two is what the server API costs by itself, without loops; that of the Pusher protocol checks a signature and an MD5 each time.
func BenchmarkPublish(b *testing.B) {
	s, fake := newTestServer()
	s.cfg.Backend = &instant{fake}
	p := newPusherTest(b)
	p.cfg.Backend = s.cfg.Backend
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	const body = `{"channel":"123","data":{"text":"hello","n":12345}}`
	event := pusherAsks(pusherTestApps[0], "POST", "/apps/3/events", `{"channel":"123","name":"e","data":"{\"text\":\"hello\",\"n\":12345}"}`)
	for name, of := range map[string]struct {
		handler      http.Handler
		target, body string
	}{"bare": {bare, "/api/publish", body}, "api": {s, "/api/publish", body}, "pusher": {p.Pusher, event.sign().http().URL.RequestURI(), event.body}} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", testServer(b, of.handler))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			request := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				of.target, testKey, len(of.body), of.body)
			in := bufio.NewReader(c)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				answer, err := http.ReadResponse(in, nil)
				if err != nil || answer.StatusCode != http.StatusOK {
					b.Fatal(answer, err)
				}
				if _, err := io.Copy(io.Discard, answer.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// instant is a backend without locks.
type instant struct{ *fakeBackend }

func (instant) Offer(string, Said) (Pending, error) { return received{}, nil }

type received struct{}

func (received) Wait(context.Context) (Receipt, error) { return Receipt{Members: 3}, nil }
