package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringcast/loop/order"
)

// What clients notice of an orderer beside what key_test.go has.

// says has an orderer of one partition put a message of another node in order.
func says(t *testing.T, in *Inlet, offset, prev uint64, group, text string) {
	t.Helper()
	if err := in.Ordered(t.Context(), Ordered{Offset: offset, Prev: prev, Message: NewOrderedMessage([]byte(group), []byte(text), false, nil)}); err != nil {
		t.Fatal(err)
	}
}

// Offsets that a cluster gives have holes. Who comes back says the last one that it has heard, or any later one that it was told, and gets
// what was said behind it.
func TestAClientComesBackToAGroupWhoseOffsetsHaveHoles(t *testing.T) {
	st := newHistoryStage(1, nil)
	_, in := st.newDesk(t, 0)
	away := st.connect(0)
	first := st.subscribe(t, away, "0g", "")
	if field(first, "offset") != "100" || field(first, "epoch") == "" {
		t.Fatalf("got %s, want the partition's position", first)
	}
	says(t, in, 103, 90, "0g", "heard")
	says(t, in, 107, 0, "0other", "x")
	st.settle()
	away.heard(t, `{"data":"heard","offset":103}`)
	for _, test := range []struct {
		from   int
		missed bool
		offset string // from which the client counts on
	}{{100, true, `"offset":102,`}, {102, true, `"offset":102,`}, {103, false, `"offset":107,`}, {105, false, `"offset":107,`}, {107, false, `"offset":107,`}} {
		more := fmt.Sprintf(`,"recover":true,"epoch":%q,"offset":%d`, field(first, "epoch"), test.from)
		got := st.subscribe(t, st.connect(0), "0g", more)
		if strings.Contains(got, `"publications":[{"data":"heard","offset":103}]`) != test.missed || !strings.Contains(got, `"recovered":true`) ||
			!strings.Contains(got, test.offset) {
			t.Errorf("from %d: got %s", test.from, got)
		}
	}
}

// recaller is a desk that takes questions for the log as well.
type recaller struct {
	*desk
	asked int
}

func (r *recaller) Recall(int, string) bool { r.asked++; return true }

func TestAResumeAndAReadingWaitForTheLogOrAreRefusedAsBusy(t *testing.T) {
	st := newHistoryStage(1, nil)
	log := &recaller{desk: &desk{}}
	in, err := st.hub.NewInlet()
	if err != nil {
		t.Fatal(err)
	}
	st.hub.SetOrderer(log, func(string) int { return 0 }, 1)
	if err := in.Epoch(t.Context(), 0, 7, 100); err != nil {
		t.Fatal(err)
	}
	reader, back := st.connect(0), st.connect(0)
	first := st.subscribe(t, reader, "0g", "")
	ask := func() {
		reader.out, back.out = nil, nil
		reader.say(`{"id":3,"history":{"channel":"0g","limit":-1}}`)
		back.say(`{"id":2,"subscribe":{"channel":"0g","recover":true,"epoch":%q,"offset":90}}`, field(first, "epoch"))
		st.settle()
		if len(reader.out)+len(back.out) > 0 || st.hub.Snapshot().SetAside != 2 {
			t.Errorf("got %q and %q before the log has answered; %d are set aside", reader.out, back.out, st.hub.Snapshot().SetAside)
		}
	}
	ask()
	if err := in.Recalled(t.Context(), 0, Recalled{Group: "0g", Failed: true}); err != nil {
		t.Fatal(err)
	}
	st.settle()
	const busy = `"error":{"code":111,"message":"too many requests","temporary":true}}`
	reader.heardExactly(t, `{"id":3,`+busy)
	back.heardExactly(t, `{"id":2,`+busy)
	if snap := st.hub.Snapshot(); snap.SetAsideRefused != 2 || snap.Total().RefusedBy["busy"] != 1 || snap.Total().RefusedBy["group_busy"] != 1 {
		t.Errorf("counted %d, and %v", snap.SetAsideRefused, snap.Total().RefusedBy)
	}
	ask()
	m := NewOrderedMessage([]byte("0g"), []byte("old"), false, nil)
	m.Offset = 95
	if err := in.Recalled(t.Context(), 0, Recalled{Group: "0g", Messages: []*Message{m}, Upto: 95}); err != nil {
		t.Fatal(err)
	}
	st.settle()
	const old = `"publications":[{"data":"old","offset":95}]`
	if got := string(reader.out); !strings.Contains(got, old) || !strings.Contains(got, `"offset":100`) {
		t.Errorf("read %q", got)
	}
	if got := string(back.out); !strings.Contains(got, old) || !strings.Contains(got, `"recovered":true`) || !strings.Contains(got, `"offset":94`) {
		t.Errorf("came back to %q", got)
	}
	if log.asked != 2 {
		t.Errorf("the log was asked %d times, want 2", log.asked)
	}
}

// A stop waits for the orderer's word; what has none when it is over is told that the server stops, and that is not for ever.
func TestAStopWaitsForWhatWasOffered(t *testing.T) {
	s, err := Boot(Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	offers := make(offered, 9)
	s.Hub().SetOrderer(offers, func(string) int { return 0 }, 1) // before clients are let in
	if err := s.LetIn(); err != nil {
		t.Fatal(err)
	}
	in, err := s.Hub().NewInlet()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Epoch(t.Context(), 0, 7, 0); err != nil {
		t.Fatal(err)
	}
	port, _ := s.Hub().NewPort()
	member := dial(t, s)
	member.join("g")
	member.say(`{"cmd":"send_to_group","group_id":"g","message":"x","id":2}`)
	ours := <-offers
	never, err := port.Offer("g", Said{Payload: []byte("never")})
	if err != nil {
		t.Fatal(err)
	}
	<-offers
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	stopped := make(chan error)
	go func() { stopped <- s.Stop(ctx, nil) }()
	for !s.Hub().stopping.Load() {
		runtime.Gosched()
	}
	if err := in.Ordered(t.Context(), Ordered{Offset: 1, Token: ours.Token}); err != nil {
		t.Errorf("in a stop: got %v, want what is offered to be ordered", err)
	}
	member.want(`{"id":2,"ok":true,"seq":1}`)
	member.want("x")
	if op, m, err := member.next(); op != 8 || !strings.HasPrefix(m, "\x03\xe9") {
		t.Errorf("got frame %d %q (%v), want close 1001", op, m, err)
	}
	member.conn.Close()
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
	if _, err := never.Wait(t.Context()); !errors.Is(err, ErrStopping) {
		t.Errorf("without a word: got %v, want %v", err, ErrStopping)
	}
	if err := in.Ordered(t.Context(), Ordered{Offset: 2, Message: NewOrderedMessage([]byte("g"), nil, false, nil)}); !errors.Is(err, ErrStopping) {
		t.Errorf("behind it: got %v, want %v", err, ErrStopping)
	}
}

// offered is an orderer that has what it was offered taken by a test.
type offered chan order.Offer

func (o offered) Offer(_ int, offer order.Offer) bool { o <- offer; return true }
func (o offered) Recall(int, string) bool             { return false }
