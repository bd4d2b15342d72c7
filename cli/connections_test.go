package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
)

// connectionsText is what the verb prints for some connections.
func connectionsText(t *testing.T, clients []loop.ClientInfo) string {
	t.Helper()
	answer, err := json.Marshal(clients)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := printConnections(bufio.NewWriter(&text), bytes.NewReader(answer)); err != nil {
		t.Errorf("%s: %v", answer, err)
	}
	return text.String()
}

func TestConnectionsAreAsInTheGoldenFile(t *testing.T) {
	golden(t, "connections.txt", connectionsText(t, []loop.ClientInfo{
		{Loop: 0, ID: 8, State: "handshake", Local: "127.0.0.1:1234", Remote: "[2001:db8::1]:65535"},
		{Loop: 0, ID: 9, State: "open", Groups: 100_000, SendQ: 1<<20 - 1, BytesIn: 1_500, BytesOut: 2 << 30, Local: "127.0.0.1:1234", Remote: "192.0.2.1:50001", Dialect: "centrifuge", Deflate: true, Kinds: []string{"chat:*", strings.Repeat("x", 41), "*"}},
		{Loop: 1, ID: 7, State: "closing", Local: "127.0.0.1:1234", Remote: "127.0.0.1:50002", Dialect: "plain", TLS: "1.3"},
		{Loop: 63, ID: 4_000_000_063, State: "open", Local: "[2001:db8::1234:5678]:1234", Remote: "127.0.0.1:50003"},
	}))
	has(t, "one", connectionsText(t, make([]loop.ClientInfo, 1)), "\n1 connection\n")
	has(t, "none", connectionsText(t, []loop.ClientInfo{}), "  kinds\n---", "-\n0 connections\n")
}

func TestNoConnectionsAreAnEmptyArray(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	f.list = func(context.Context, func([]loop.ClientInfo) error) error { return nil }
	serving(t, f, dir)
	_, stdout, _ := do(t, "connections", "--json", "--run-dir", dir.path)
	var got []loop.ClientInfo
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || got == nil || len(got) != 0 {
		t.Errorf("got %v, %v from %q, want an empty array", got, err, stdout)
	}
	_, stdout, _ = do(t, "connections", "--run-dir", dir.path)
	has(t, "none", stdout, "\n0 connections\n")
}

// slice is some rows of a list, each with an address of its own.
func slice(number, rows int) []loop.ClientInfo {
	clients := make([]loop.ClientInfo, rows)
	for i := range clients {
		clients[i] = loop.ClientInfo{ID: uint64(i), State: "open", Remote: fmt.Sprintf("%d.%d:end", number, i)}
	}
	return clients
}

// Nobody holds the rows of a long list: what one slice had is printed before the next is made, by the server and by the verb, as a
// table and as JSON.
func TestConnectionsArePrintedAsTheyCome(t *testing.T) {
	const slices, rows = 10, 1000
	for _, form := range [][]string{nil, {"--json"}} {
		dir, f := shortDir(t), newFakeServer()
		printed, asked := make(chan *verb, 1), 0
		f.list = func(_ context.Context, take func([]loop.ClientInfo) error) error {
			v := <-printed
			for i := range slices {
				if err := take(slice(i, rows)); err != nil {
					return err
				}
				last := fmt.Sprintf("%d.%d:end", i, rows-1)
				if !waited(patience, func() bool { return strings.Contains(v.out.String(), last) }) {
					return fmt.Errorf("slice %d is not printed", i)
				}
				asked++
			}
			return nil
		}
		serving(t, f, dir)
		v := begin(newFakeServer(), append([]string{"connections", "--run-dir", dir.path}, form...)...)
		printed <- v
		select {
		case status := <-v.exited:
			if status != 0 || asked != slices {
				t.Errorf("connections %v: got status %d after %d slices, want 0 after %d; %s", form, status, asked, slices, v.err.String())
			}
		case <-time.After(2 * patience):
			t.Fatalf("connections %v: does not end", form)
		}
		if got := strings.Count(v.out.String(), ":end"); got != slices*rows {
			t.Errorf("connections %v: got %d rows, want %d", form, got, slices*rows)
		}
		if form == nil {
			has(t, "table", v.out.String(), "\n10,000 connections\n")
		} else if !json.Valid([]byte(v.out.String())) {
			t.Error("--json: got no valid JSON")
		}
	}
}

// Who takes no more rows, or goes away, ends the list: no further slice is asked for.
func TestAListThatNobodyReadsEnds(t *testing.T) {
	for _, of := range []struct {
		name   string
		read   time.Duration
		client func(net.Conn)
	}{
		{"a reader that stops", 50 * time.Millisecond, func(net.Conn) {}},
		{"a reader that goes", time.Hour, func(c net.Conn) { io.ReadFull(c, make([]byte, 1000)); c.Close() }},
	} {
		ended := make(chan error, 1)
		f := newFakeServer()
		f.list = func(ctx context.Context, take func([]loop.ClientInfo) error) (err error) {
			for err = ctx.Err(); err == nil; err = ctx.Err() {
				if err = take(slice(0, 1000)); err != nil {
					break
				}
			}
			ended <- err
			return err
		}
		s := httptest.NewServer(controlHandler(nil, f, nil, of.read, slog.New(slog.DiscardHandler)))
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /connections HTTP/1.1\r\nHost: ringcast\r\n\r\n")
		of.client(conn)
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: the list went on", of.name)
			}
		case <-time.After(patience):
			t.Errorf("%s: the list goes on", of.name)
		}
		conn.Close()
		s.Close()
	}
}

// A list that breaks off is not taken for a whole one, and the reason is in the server's log.
func TestAListThatBreaksOffIsNotTakenForTheWhole(t *testing.T) {
	for _, form := range [][]string{nil, {"--json"}} {
		dir, f := shortDir(t), newFakeServer()
		f.list = func(_ context.Context, take func([]loop.ClientInfo) error) error {
			_ = take(slice(0, 3))
			return errors.New("the loops have ended")
		}
		server := serving(t, f, dir)
		status, stdout, stderr := do(t, append([]string{"connections", "--run-dir", dir.path}, form...)...)
		if status != statusFailed {
			t.Errorf("connections %v: got status %d, want %d", form, status, statusFailed)
		}
		has(t, "stdout", stdout, "0.2:end")
		has(t, "stderr", stderr, "the list is not complete")
		eventually(t, "the log says why", func() bool {
			log := server.err.String()
			return strings.Contains(log, "a list of connections was broken off") && strings.Contains(log, "the loops have ended")
		})
		if strings.Contains(stdout, " connections\n") || json.Valid([]byte(stdout)) {
			t.Errorf("connections %v: got %q, want no end", form, stdout)
		}
	}
}

func TestAListThatCannotBeginSaysWhy(t *testing.T) {
	f := newFakeServer()
	f.list = func(context.Context, func([]loop.ClientInfo) error) error { return loop.ErrTooManyListings }
	answer := httptest.NewRecorder()
	controlHandler(nil, f, nil, time.Hour, slog.New(slog.DiscardHandler)).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/connections", nil))
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "ask again later") {
		t.Errorf("got %d %q, want 503 and how to mend it", answer.Code, answer.Body)
	}
}
