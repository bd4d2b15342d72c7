package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"ringcast/dialect"
)

// othersServer is a NATS server that somebody else operates.
func othersServer(t *testing.T, jetStream bool) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, JetStream: jetStream, StoreDir: t.TempDir(), Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("a NATS server is not ready")
	}
	return s
}

func TestNodesMeetAtServersOfOthers(t *testing.T) {
	t.Parallel()
	s := othersServer(t, true)
	var nodes []*node
	for i := range 2 {
		config := aloneConfig(t)
		config.Node, config.StoreDir, config.NATS = fmt.Sprint("n", i), "", fmt.Sprintf("nats://u:p@%s", s.Addr())
		nodes = append(nodes, start(t, config, nil))
	}
	for text, is := range sayAll(t, nodes, "first", 200, nil) {
		if is[:2] != "ok" {
			t.Errorf("%q: got %q, want ok", text, is)
		}
	}
	agree(t, nodes)

	// A key is good on all nodes.
	key := func(o *offer) { o.Key = "k" }
	first, _ := nodes[0].offer("room", "a", key)
	is := nodes[0].answerTo(t, first)
	again, _ := nodes[1].offer("room", "b", key)
	if got, want := nodes[1].answerTo(t, again), "repeat "+is[3:]; got != want {
		t.Errorf("a repeat on another node: got %q, want %q", got, want)
	}

	// What has gone past the log is heard on the other node only.
	for i := range 100 {
		_, _ = nodes[0].offer("fast", fmt.Sprint(i), func(o *offer) {
			o.Fast, o.Token, o.Message.More = true, 0, &dialect.More{Tags: []byte("{}")}
		})
	}
	var got []said2
	until(t, "fast messages", func() bool {
		nodes[1].f.mu.Lock()
		defer nodes[1].f.mu.Unlock()
		got = nil
		for _, s := range nodes[1].f.said[nodes[1].hash("fast")] {
			if s.fast {
				got = append(got, s)
			}
		}
		return len(got) >= 100
	})
	for i, s := range got {
		if s.group != "fast" || s.text != fmt.Sprint(i) {
			t.Errorf("fast message %d: got %+v", i, s)
		}
	}
	_, _ = nodes[1].offer("fast", "back", func(o *offer) { o.Fast, o.Token = true, 0 })
	until(t, "a fast message of the other node", func() bool { return len(nodes[0].heard("fast")) > 0 })
	if got := nodes[0].heard("fast"); len(got) != 1 || nodes[0].Status().FastSent != 100 {
		t.Errorf("who has sent 100: got %v heard and %d sent, want the other's alone", got, nodes[0].Status().FastSent)
	}

	// Without the servers whatever is offered is answered, and when they are back all goes on.
	config := nodes[0].config
	config.Wait = 2 * time.Second
	config.Node = "late"
	late := start(t, config, nil)
	s.Shutdown()
	s.WaitForShutdown()
	token, _ := late.offer("room", "nobody is there", nil)
	if is := late.answerTo(t, token); is != "unavailable" && is != "unknown" {
		t.Errorf("an offer without a server: got %q, want unavailable or unknown", is)
	}
	until(t, "trouble", func() bool { return late.Trouble() != "" })
}

func TestServersThatCannotBeUsedAreTheOperatorsFault(t *testing.T) {
	t.Parallel()
	with, without := othersServer(t, true), othersServer(t, false)
	for _, c := range []struct {
		name, url string
		max       int64
		want      string
	}{
		{"no password", "nats://" + with.Addr().String(), 256 << 20, "--cluster-nats"},
		{"no JetStream", "nats://u:p@" + without.Addr().String(), 256 << 20, "JetStream"},
		{"a store that is too large", "nats://u:p@" + with.Addr().String(), 1 << 60, "--store-max"},
	} {
		config := aloneConfig(t)
		config.StoreDir, config.NATS, config.StoreMax = "", c.url, c.max
		_, err := tryStart(t, config, nil)
		var wrong *ConfigError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want an error of the operator's", c.name, err)
			continue
		}
		mustHave(t, c.name, err.Error(), c.want)
	}
	// Who is told to stop waiting for a server stops.
	config := aloneConfig(t)
	config.StoreDir, config.NATS = "", "nats://127.0.0.1:1"
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	f := newFakeHomes(t)
	if _, err := open(ctx, config, f, f, nil); !errors.Is(err, context.DeadlineExceeded) && err == nil {
		t.Errorf("waiting for a server: got %v, want that it has ended", err)
	}
}
