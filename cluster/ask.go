package cluster

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"ringcast/loop/order"
)

// This file is questions to all other nodes at once. A question goes out once, over core NATS; each node that is there answers, and who has
// asked goes on when all have, or when its time is over: it is told how many have. What is lost on the way is not asked again.
//
// A question says what is asked, and its text; both are for those who answer. An answer comes in parts, as a server of NATS takes no message
// of more than a megabyte.

const (
	askSubject    = "rcq.ask"    // to all; with a node's boot behind it, to that one
	answerSubject = "rcq.answer" // with the boot of who has asked

	countTime = 200 * time.Millisecond // for answers that are at hand
	actTime   = 3 * time.Second        // for what loops have to look through their clients for

	asksMax        = 256       // questions of this node at a time; beyond them ErrBusy
	answersMax     = 64        // questions that this node answers at a time; those beyond are answered by an error
	answerBytesMax = 16 << 20  // an answer, all parts; a longer one is none
	partBytes      = 256 << 10 // a part
)

// Headers of questions and answers.
const (
	headVersion = "Rc-V"
	headID      = "Rc-Id"
	headWhat    = "Rc-What"
	headBoot    = "Rc-Boot" // who asks, or answers
	headError   = "Rc-Error"
	headMore    = "Rc-More" // there is a further part
)

// errOther is that another node could not do what was asked.
var errOther = errors.New("another node could not do it")

// answered is one node's answer.
type answered struct {
	boot  string
	body  []byte
	wrong string // why there is none
}

// question is one that waits for answers.
//
// Owner: whoever holds the asker's lock.
type question struct {
	awaited map[string]bool // boots of those that have not answered
	parts   map[string][]byte
	answers []answered
	done    chan struct{} // closed when nobody is awaited
}

// asker asks other nodes, and has their questions answered.
//
// Owner: any goroutine.
type asker struct {
	// Immutable.
	conn   *nats.Conn
	boot   string
	answer func(ctx context.Context, what string, body []byte) ([]byte, error) // any goroutine
	ctx    context.Context                                                     // for what is done for others
	tasks  sync.WaitGroup
	places chan struct{}

	nextID atomic.Uint64
	mu     sync.Mutex
	asked  map[string]*question // by id
	closed bool
}

func newAsker(ctx context.Context, conn *nats.Conn, boot string, answer func(ctx context.Context, what string, body []byte) ([]byte, error)) *asker {
	return &asker{conn: conn, boot: boot, answer: answer, ctx: ctx, places: make(chan struct{}, answersMax), asked: map[string]*question{}}
}

// one asks one node.
func (a *asker) one(ctx context.Context, boot, what string, body []byte, within time.Duration) error {
	answers, err := a.ask(ctx, askSubject+"."+boot, []string{boot}, what, body, within)
	switch {
	case err != nil:
		return err
	case len(answers) == 0:
		return context.DeadlineExceeded
	case answers[0].wrong != "":
		return errOther
	}
	return nil
}

// ask asks nodes. The answers are those that have come in time. Errors are ErrBusy, ctx's if it has ended before the question went out, and
// those of the connection: then nobody was asked.
func (a *asker) ask(ctx context.Context, subject string, boots []string, what string, body []byte, within time.Duration) ([]answered, error) {
	if err := ctx.Err(); err != nil || len(boots) == 0 {
		return nil, err
	}
	q := &question{awaited: map[string]bool{}, parts: map[string][]byte{}, done: make(chan struct{})}
	for _, boot := range boots {
		q.awaited[boot] = true
	}
	id := strconv.FormatUint(a.nextID.Add(1), 36)
	a.mu.Lock()
	if len(a.asked) >= asksMax {
		a.mu.Unlock()
		return nil, order.ErrBusy
	}
	a.asked[id] = q
	a.mu.Unlock()

	m := nats.NewMsg(subject)
	m.Reply, m.Data = answerSubject+"."+a.boot, body
	m.Header.Set(headVersion, strconv.Itoa(rosterVersion))
	m.Header.Set(headID, id)
	m.Header.Set(headWhat, what)
	m.Header.Set(headBoot, a.boot)
	err := a.conn.PublishMsg(m)
	if err == nil {
		timer := time.NewTimer(within)
		defer timer.Stop()
		select {
		case <-q.done:
		case <-timer.C:
		case <-ctx.Done():
		case <-a.ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asked, id)
	return q.answers, err
}

// heed takes an answer, or a part of one.
func (a *asker) heed(m *nats.Msg) {
	id, boot := m.Header.Get(headID), m.Header.Get(headBoot)
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.asked[id]
	if q == nil || !q.awaited[boot] {
		return
	}
	wrong := m.Header.Get(headError)
	body := append(q.parts[boot], m.Data...)
	if len(body) > answerBytesMax {
		wrong = "the answer is too long"
	}
	if wrong == "" && m.Header.Get(headMore) != "" {
		q.parts[boot] = body
		return
	}
	delete(q.parts, boot)
	q.answers = append(q.answers, answered{boot, body, wrong})
	q.part(boot)
}

// part has a node not be awaited any more.
func (q *question) part(boot string) {
	if !q.awaited[boot] {
		return
	}
	if delete(q.awaited, boot); len(q.awaited) == 0 {
		close(q.done)
	}
}

// gone has no question wait for a node that is gone.
func (a *asker) gone(boot string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.asked {
		q.part(boot)
	}
}

// serve answers a question, on a goroutine of its own.
func (a *asker) serve(m *nats.Msg) {
	boot := m.Header.Get(headBoot)
	if m.Header.Get(headVersion) != strconv.Itoa(rosterVersion) || boot == a.boot || m.Reply == "" {
		return
	}
	select {
	case a.places <- struct{}{}:
	default:
		a.reply(m, nil, order.ErrBusy)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.tasks.Add(1)
	go func() {
		defer func() { <-a.places; a.tasks.Done() }()
		ctx, cancel := context.WithTimeout(a.ctx, actTime)
		defer cancel()
		body, err := a.answer(ctx, m.Header.Get(headWhat), m.Data)
		a.reply(m, body, err)
	}()
}

// close returns when nothing is done for others any more. Its caller has ended ctx.
func (a *asker) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.tasks.Wait()
}

// reply sends an answer, in as many parts as it needs.
func (a *asker) reply(to *nats.Msg, body []byte, wrong error) {
	for {
		m := nats.NewMsg(to.Reply)
		m.Header.Set(headID, to.Header.Get(headID))
		m.Header.Set(headBoot, a.boot)
		part := body[:min(len(body), partBytes)]
		body = body[len(part):]
		if m.Data = bytes.Clone(part); wrong != nil {
			m.Header.Set(headError, wrong.Error())
		} else if len(body) > 0 {
			m.Header.Set(headMore, "1")
		}
		if a.conn.PublishMsg(m) != nil || len(body) == 0 || wrong != nil {
			return // who has asked waits no longer than it said
		}
	}
}
