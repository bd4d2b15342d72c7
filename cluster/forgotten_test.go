package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// bare is a partition without servers, whose offers are answered to the homes that it returns.
func bare(t *testing.T, partitions int) (*partition, *fakeHomes) {
	f := newFakeHomes(t)
	c := &Cluster{config: Config{Partitions: partitions, Wait: 15 * time.Second}, in: f, ctx: context.Background(), boot: "boot"}
	return newPartition(c, 0), f
}

// A process that was stopped for minutes still has what it had sent. The log may know that no more, and would put it in order twice.
func TestWhatTheLogMayHaveForgottenIsNotSentAgain(t *testing.T) {
	t.Parallel()
	p, f := bare(t, 1)
	it := &item{bytes: 1, due: 75, offer: offer{Token: 7}}
	if !p.take(it) {
		t.Fatal("an offer was refused")
	}
	breaks := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.breakBatch(0)
	}
	for n, again := range []bool{false, true} { // within the window
		if got, _, is := p.next(); got != it || is != again {
			t.Fatalf("sending %d: got %v, again %t, want the offer, again %t", n+1, got, is, again)
		}
		breaks()
	}
	it.began = it.began.Add(-p.c.duplicates())
	if got, _, _ := p.next(); got != nil {
		t.Error("it was sent again behind the window in which the log knows it")
	}
	p.passTime()
	if got := fmt.Sprint(f.answers[7]); got != "[unknown]" {
		t.Errorf("answers: got %s, want [unknown]", got)
	}
}

func TestMessagesOfFastGroupsThatWaitAreSoManyBytesAndNoMore(t *testing.T) {
	t.Parallel()
	p, _ := bare(t, 16)
	large := func() bool { return p.take(&item{bytes: fastBytesAll/16 - 1, offer: offer{Fast: true}}) }
	if !large() || large() || p.c.counters.fastLost.Load() != 1 {
		t.Errorf("got %d taken and %d lost, want one of each", len(p.fast), p.c.counters.fastLost.Load())
	}
	if n := len(p.takeFast()); n != 1 || !large() {
		t.Errorf("got %d that waited, and then none was taken, want room again", n)
	}
}

func TestServersThatTakeSmallMessagesAreWarnedOf(t *testing.T) {
	t.Parallel()
	s := othersServer(t, true)
	for size, warned := range map[int]bool{100: false, 1 << 20: true} { // servers take 1 MiB unless told otherwise, with what goes with it
		var log bytes.Buffer
		config := aloneConfig(t)
		config.Name, config.StoreDir, config.NATS = fmt.Sprint("c", size), "", fmt.Sprintf("nats://u:p@%s", s.Addr())
		config.MessageMax, config.Log = size, slog.New(slog.NewTextHandler(&log, nil))
		c := &Cluster{config: config, log: config.Log}
		c.ctx, c.cancel = context.WithCancel(context.Background())
		if err := c.connect(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(log.Bytes(), []byte("max_payload")); got != warned {
			t.Errorf("messages of %d bytes: got %q, want a warning: %t", size, &log, warned)
		}
		c.cancel()
		c.conn.Close()
	}
}
