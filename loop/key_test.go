package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// others are the text frames of a stage's client that are no answers.
func (c *stageConn) others(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(c.texts(t), func(text string) bool { return strings.HasPrefix(text, `{"id":`) })
}

func TestAClientThatSaysTheSameAgainUnderItsKeyIsToldSoAndNotHeardTwice(t *testing.T) {
	st := newStage(2, nil)
	member, sender, later := st.enter(0), st.enter(1), st.enter(0)
	st.ask(member, `{"cmd":"add_group","group_id":"1g","id":1}`)
	say := func(c *stageConn, rest string) {
		t.Helper()
		c.out = nil
		st.ask(c, `{"cmd":"send_to_group","group_id":"1g",%s}`, rest)
	}
	say(sender, `"message":"first","key":"k","id":1`)
	sender.heard(t, `{"id":1,"ok":true,"seq":1}`)
	say(sender, `"message":"between","id":2`)
	sender.heard(t, `{"id":2,"ok":true,"seq":2}`)
	say(sender, `"message":"first","key":"k","id":3`)
	sender.heard(t, `{"id":3,"ok":true,"seq":1,"repeated":true}`)
	say(later, `"message":"first","key":"\u006b","id":4`) // the same page, on a new connection
	later.heard(t, `{"id":4,"ok":true,"seq":1,"repeated":true}`)
	say(sender, `"message":"other","key":"l"`) // without an id too
	say(sender, `"message":"other","key":"l"`)
	if len(sender.out) > 0 {
		t.Errorf("without an id: heard %q, want nothing", sender.out)
	}
	st.ask(member, `{"cmd":"send_to_group","group_id":"1h","message":"x","key":"k","id":5}`) // in another group it is another key
	member.heard(t, `{"id":5,"ok":true,"seq":0}`)
	if got, want := member.others(t), []string{"first", "between", "other"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if n := st.hub.Snapshot().Total().Published; n != 4 {
		t.Errorf("got %d publishes in order, want 4", n)
	}
}

// A stranger who guesses a key cannot have what others say under it be taken for a repeat.
func TestAKeyIsOneOfItsUser(t *testing.T) {
	st := newBearerStage(1, nil)
	ann, bob, nobody, member := st.enter(0), st.enter(0), st.enter(0), st.enter(0)
	st.auth(ann, `{"sub":"ann"}`)
	st.auth(bob, `{"sub":"bob"}`)
	st.ask(member, `{"cmd":"add_group","group_id":"0g","id":1}`)
	for i, c := range []*stageConn{nobody, ann, bob} {
		st.ask(c, `{"cmd":"send_to_group","group_id":"0g","message":"%d","key":"order-17","id":7}`, i)
		c.heard(t, fmt.Sprintf(`{"id":7,"ok":true,"seq":%d}`, i+1))
	}
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	for i, key := range []string{"order-17", "\xffann\xfforder-17"} { // the second is what no API lets through
		w, err := port.Offer("0g", Said{Payload: []byte("backend"), Key: key})
		if err != nil {
			t.Fatal(err)
		}
		st.settle()
		if r, err := w.Wait(t.Context()); err != nil || r.Repeated != (i == 1) {
			t.Errorf("a backend's %q: got %+v, %v", key, r, err)
		}
	}
	again := st.enter(0)
	st.auth(again, `{"sub":"ann"}`)
	st.ask(again, `{"cmd":"send_to_group","group_id":"0g","message":"again","key":"order-17","id":8}`)
	again.heard(t, `{"id":8,"ok":true,"seq":2,"repeated":true}`)
	if got := member.others(t); !slices.Equal(got, []string{"0", "1", "2", "backend"}) {
		t.Errorf("heard %q, want each once", got)
	}
}

func TestAWrongKeyIsRefusedAndNothingIsSaid(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	st.ask(c, `{"cmd":"add_group","group_id":"0g","id":1}`)
	for _, key := range []string{`""`, `7`, `["k"]`, `"` + strings.Repeat("k", 256) + `"`} {
		c.out = nil
		st.ask(c, `{"cmd":"send_to_group","group_id":"0g","message":"x","key":%s,"id":2}`, key)
		c.heard(t, `{"id":2,"error":{"code":"bad_key"`)
		c.say(`{"cmd":"send_to_group","group_id":"0g","message":"x","key":%s}`, key)
		st.settle()
		if got := c.others(t); len(got) > 0 || c.client.state != stateOpen {
			t.Errorf("%s: heard %q, state %s, want nothing, and that it stays", key, got, c.client.state)
		}
	}
	if n := st.hub.Snapshot().Total().CommandErrors; n != 8 {
		t.Errorf("got %d wrong commands, want 8", n)
	}
}

// desk is an orderer that notes what it is offered, up to so much.
type desk struct {
	offers []order.Offer
	most   int
}

func (d *desk) Offer(_ int, o order.Offer) bool {
	if len(d.offers) == d.most {
		return false
	}
	d.offers = append(d.offers, o)
	return true
}

func (d *desk) Recall(int, string) bool { return false }

// newDesk gives a stage an orderer of one partition.
func (st *stage) newDesk(t *testing.T, most int) (*desk, *Inlet) {
	d := &desk{most: most}
	in, err := st.hub.NewInlet()
	if err != nil {
		t.Fatal(err)
	}
	st.hub.SetOrderer(d, func(string) int { return 0 }, 1)
	if err := in.Epoch(t.Context(), 0, 7, 100); err != nil {
		t.Fatal(err)
	}
	st.settle()
	return d, in
}

// A client with an id is answered, one without is closed, and of both there is a count and a trace.
func TestAClientIsToldWhatWasNotPutInOrder(t *testing.T) {
	for _, test := range []struct {
		most             int // offers that the orderer takes
		why              error
		code, by, closed string
		centrifuge       string
	}{
		{0, nil, "busy", "busy", "the server is busy", `{"code":111,"message":"too many requests","temporary":true}`},
		{9, ErrBusy, "busy", "busy", "the server is busy", `{"code":111,"message":"too many requests","temporary":true}`},
		{9, ErrUnavailable, "unavailable", "unavailable", "unavailable: ", `{"code":100,"message":"unavailable","temporary":true}`},
		{9, ErrUnconfirmed, "unknown", "unconfirmed", "unknown: ", `{"code":100,"message":"unknown"}`},
	} {
		st := newCentrifugeStage(1, nil)
		desk, in := st.newDesk(t, test.most)
		asks, silent, page := st.enter(0), st.enter(0), st.enterAt(0, centrifugePath)
		page.say(`{"id":1,"connect":{}}`)
		asks.say(`{"cmd":"send_to_group","group_id":"0g","message":"x","id":7}`)
		page.say(`{"id":8,"publish":{"channel":"0g","data":1}}`)
		silent.say(`{"cmd":"send_to_group","group_id":"0g","message":"x"}`)
		st.settle()
		if test.most > 0 && len(asks.out)+len(silent.out) > 0 {
			t.Errorf("%s: heard %q and %q before the orderer's word", test.code, asks.out, silent.out)
		}
		for _, o := range desk.offers {
			if err := in.Refused(t.Context(), 0, o.Token, test.why); err != nil {
				t.Fatal(err)
			}
		}
		st.settle()
		asks.heard(t, `{"id":7,"error":{"code":"`+test.code+`","message":"`+dialect.ErrorCode(test.code).Sentence()+`"}}`)
		page.heard(t, `{"id":8,"error":`+test.centrifuge+`}`)
		silent.heard(t, "\x03\xf5"+test.closed)
		if asks.client.state != stateOpen || page.client.state != stateOpen || silent.client.state == stateOpen {
			t.Errorf("%s: got states %s, %s, %s, want the one without an id to be closed", test.code, asks.client.state, page.client.state, silent.client.state)
		}
		isTrouble(t, st.hub.shards[0], fmt.Sprint(asks.client.Number(), " refuse  ", test.code), fmt.Sprint(page.client.Number(), " refuse  ", test.code),
			fmt.Sprint(silent.client.Number(), " refuse  ", test.code), fmt.Sprint(silent.client.Number(), " close  1013"))
		if total := st.hub.Snapshot().Total(); total.RefusedBy[test.by] != 3 || total.RefusedPublishes != 3 {
			t.Errorf("%s: got %v refused by reason, %d publishes, want 3 of both", test.code, total.RefusedBy, total.RefusedPublishes)
		}
	}
}

func TestAnOrdererIsToldTheKeyAndWhoDoesNotWaitForLong(t *testing.T) {
	st := newCentrifugeStage(1, nil)
	desk, in := st.newDesk(t, 9)
	plain, page := st.enter(0), st.enterAt(0, centrifugePath)
	plain.say(`{"cmd":"send_to_group","group_id":"0g","message":"x","key":"k","id":7}`)
	page.say(`{"id":1,"connect":{}}`)
	page.say(`{"id":8,"publish":{"channel":"0g","data":1}}`)
	st.settle()
	if o := desk.offers; len(o) != 2 || o[0].Soon || o[0].Key != "\xff\xffk" || !o[1].Soon || o[1].Key != "" {
		t.Fatalf("offered %+v, want one with a key and one that is wanted soon", o)
	}
	if err := in.Repeated(t.Context(), 0, desk.offers[0].Token, 41); err != nil { // as it has found it in the log
		t.Fatal(err)
	}
	st.settle()
	plain.heard(t, `{"id":7,"ok":true,"seq":41,"repeated":true}`)
}
