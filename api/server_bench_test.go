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
// of the two is what the server API costs by itself, without loops.
func BenchmarkPublish(b *testing.B) {
	s, fake := newTestServer()
	s.cfg.Backend = &instant{fake}
	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	})
	for name, handler := range map[string]http.Handler{"bare": bare, "api": s} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", testServer(b, handler))
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			const body = `{"channel":"123","data":{"text":"hello","n":12345}}`
			request := fmt.Appendf(nil, "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				testKey, len(body), body)
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
