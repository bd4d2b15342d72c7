package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"ringcast/loop"
	"ringcast/loop/order"
)

// This file is what backends ask and want done, on all nodes. What is done is done here first, with this node's errors; then all others are
// asked to do it. If some have not answered, or could not do it, the result is that of the others, and a *loop.Partly beside it says so.
//
// A revocation must miss nobody, so each node has a list of them, its hub's, and teaches it to every node that arrives, and to one that has
// not answered. So a node that was cut off learns them when it is back, and one that was restarted knows again what it had forgotten.

// everywhereHub is the hub of this node, as this file needs it. What its methods mean is said in package loop.
type everywhereHub interface {
	Groups(ctx context.Context, match string, most int) (groups []loop.GroupInfo, more bool, err error)
	Disconnect(ctx context.Context, t loop.Target, code uint16, reason string) (clients int, err error)
	Unsubscribe(ctx context.Context, t loop.Target, group string) (clients int, err error)
	Subscribe(ctx context.Context, t loop.Target, group string, info []byte) (clients int, err error)
	Refresh(ctx context.Context, t loop.Target, ends int64) (clients int, err error)
	Revoke(ctx context.Context, user string, before int64) (clients int, err error)
	Revocations() iter.Seq2[string, int64]
	RevokedBefore(user string) int64
	ClientName(client uint64) string
	ClientNumber(name string) (client uint64, ok bool)
	Users() int
	Snapshot() loop.Snapshot
	SetCompany(c loop.Company)
	SetElsewhere(e loop.Elsewhere)
	NewPort() (*loop.Port, error)
}

// Everywhere is all nodes of the cluster, as backends ask them: what a hub is to one node. It is also what tells the nodes of each other.
//
// Owner: any goroutine.
type Everywhere struct {
	hub      everywhereHub
	self     loop.NodeInfo // what does not change
	log      *slog.Logger
	roster   *roster
	asker    *asker
	says     *announcer
	hears    *hearer
	members  func(ctx context.Context, group string) (int, error) // of this node's clients in a group
	counting time.Duration                                        // countTime, and
	acting   time.Duration                                        // actTime, but in tests

	subs   []*nats.Subscription
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	once   sync.Once

	counts counts
}

// counts is how many members groups have on other nodes, as they have said within the last second.
type counts struct {
	mu     sync.Mutex
	since  time.Time
	groups map[string]*countOf
}

// countOf is that of a group. Who begins it writes it, until known is closed.
type countOf struct {
	known   chan struct{}
	members int
	err     error
}

const (
	countedFor = time.Second
	countedMax = 10_000 // groups
)

// What nodes ask of each other.
const (
	askDisconnect  = "disconnect"
	askUnsubscribe = "unsubscribe"
	askSubscribe   = "subscribe"
	askRefresh     = "refresh"
	askRevoke      = "revoke"
	askRevocations = "revocations"
	askGroups      = "groups"
	askMembers     = "members"
	askInfo        = "info"
)

// act is what is wanted.
type act struct {
	User   string `json:"user,omitempty"`
	Name   string `json:"name,omitempty"` // of a client
	Group  string `json:"group,omitempty"`
	Code   uint16 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	Info   []byte `json:"info,omitempty"`
	Time   int64  `json:"time,omitempty"` // Unix seconds
	Match  string `json:"match,omitempty"`
	Most   int    `json:"most,omitempty"`
}

func (a *act) target() loop.Target { return loop.Target{User: a.User, Name: a.Name} }

// someGroups is a node's answer to askGroups.
type someGroups struct {
	Groups []loop.GroupInfo `json:"groups"`
	More   bool             `json:"more,omitempty"`
}

// revocation is a user whose tokens are refused that were issued before a time.
type revocation struct {
	User   string `json:"u"`
	Before int64  `json:"b"`
}

// revocationsPage is how many of them go in one message.
const revocationsPage = 1000

// newEverywhere joins the other nodes: from its return on they know of this one. in is the way to this node's homes, which the caller closes
// behind it. A connection that is closed ends it.
func newEverywhere(conn *nats.Conn, config Config, boot string, hub everywhereHub, in farInlet) (*Everywhere, error) {
	return joinOthers(conn, config, boot, hub, in, rosterTick, nil)
}

func joinOthers(conn *nats.Conn, config Config, boot string, hub everywhereHub, in farInlet, period time.Duration, lose func() bool) (*Everywhere, error) {
	log := config.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Everywhere{hub: hub, log: log, cancel: cancel, counting: countTime, acting: actTime, self: loop.NodeInfo{UID: boot, Name: config.Node, Version: config.Version}}
	port := sync.OnceValues(hub.NewPort)
	e.members = func(ctx context.Context, group string) (int, error) {
		p, err := port()
		if err != nil {
			return 0, err
		}
		past, err := p.Presence(ctx, group)
		if err != nil || !past.None {
			return 0, err // homes count those elsewhere too where there is presence
		}
		return past.Members, nil
	}
	e.roster = newRoster(conn, config.Node, boot, log, func(f *fellow, arrived bool) {
		e.hears.change(f.boot, f.number, arrived)
		if !arrived {
			e.asker.gone(f.boot)
		}
	})
	e.asker = newAsker(ctx, conn, boot, e.answer)
	e.says = newAnnouncer(conn, boot, hub.ClientName)
	e.hears = newHearer(conn, in, log, e.roster.release)
	e.hears.lose = lose
	hub.SetCompany(e.says)
	hub.SetElsewhere(e.MembersElsewhere)
	if err := e.subscribe(conn, boot); err != nil {
		e.Close()
		return nil, fmt.Errorf("subscribing to what other nodes say: %w", err)
	}
	clocks := []chan struct{}{make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)}
	e.run(func() { e.says.run(ctx, clocks[0]) })
	e.run(func() { e.hears.run(ctx, clocks[1]) })
	e.run(func() { e.teach(ctx, clocks[2]) })
	e.run(func() { e.tickAll(ctx, period, clocks) })
	return e, nil
}

// run runs a goroutine that ends with Close.
func (e *Everywhere) run(task func()) {
	e.tasks.Add(1)
	go func() {
		defer e.tasks.Done()
		task()
	}()
}

func (e *Everywhere) subscribe(conn *nats.Conn, boot string) error {
	news, err := conn.ChanSubscribe(newsSubject, e.hears.news)
	if err != nil {
		return err
	}
	e.subs = append(e.subs, news)
	for subject, take := range map[string]nats.MsgHandler{
		beatSubject:                e.roster.hear,
		listSubject + "." + boot:   func(*nats.Msg) { e.says.list() },
		askSubject:                 e.asker.serve,
		askSubject + "." + boot:    e.asker.serve,
		answerSubject + "." + boot: e.asker.heed,
	} {
		sub, err := conn.Subscribe(subject, take)
		if err != nil {
			return err
		}
		e.subs = append(e.subs, sub)
	}
	return conn.Flush() // the server has them before anybody hears of this node
}

// tickAll makes the time of this file and its neighbours.
func (e *Everywhere) tickAll(ctx context.Context, period time.Duration, clocks []chan struct{}) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		e.roster.tick()
		for _, clock := range clocks {
			select {
			case clock <- struct{}{}:
			default: // it has the last one still before it
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close says to the others that this node is gone, and returns when nothing of it runs any more. A second one does nothing.
func (e *Everywhere) Close() {
	e.once.Do(func() {
		e.cancel()
		for _, sub := range e.subs {
			_ = sub.Unsubscribe()
		}
		e.tasks.Wait()
		e.asker.close()
		e.roster.say(true)
		_ = e.roster.conn.FlushTimeout(countTime)
	})
}

// Fellows is the other nodes that this one has heard of, by name; at most so many that are there no more.
func (e *Everywhere) Fellows() []Fellow { return e.roster.fellows() }

// Heard is what this node has counted of how nodes tell each other who is there.
func (e *Everywhere) Heard() Heard {
	return Heard{Lists: e.says.lists.Load(), Overflows: e.says.overflow.Load(), Holes: e.hears.holes.Load(), Strange: e.hears.strange.Load()}
}

// Heard are counters.
type Heard struct {
	Lists     uint64 `json:"presence_lists"`     // of all members of this node, sent as a node arrived or had missed something
	Overflows uint64 `json:"presence_overflows"` // times that so many came and went that a list took the place of news
	Holes     uint64 `json:"presence_holes"`     // times that this node missed news of another, and asked for a list
	Strange   uint64 `json:"presence_strange"`   // news of other nodes that could not be taken
}

// act has the other nodes do what was done here for so many clients.
func (e *Everywhere) act(ctx context.Context, what string, a *act, clients int) (int, error) {
	answers, others := e.ask(ctx, what, a, e.acting)
	done := 1
	for _, answer := range answers {
		var n int
		if answer.wrong == "" && json.Unmarshal(answer.body, &n) == nil {
			clients += n
			done++
		}
	}
	return clients, partly(others, done)
}

// ask asks all other nodes, others of them. Of one that could not even be asked there is no answer.
func (e *Everywhere) ask(ctx context.Context, what string, a *act, within time.Duration) (answers []answered, others int) {
	boots := e.roster.boots()
	body, _ := json.Marshal(a)
	answers, _ = e.asker.ask(ctx, askSubject, boots, what, body, within)
	return answers, len(boots)
}

// partly is nil if all nodes have answered, this one among them.
func partly(others, answered int) error {
	if answered == others+1 {
		return nil
	}
	return &loop.Partly{Nodes: others + 1, Answered: answered}
}

// isHere says that a client that is named is one of this process, so no other node can know it.
func (e *Everywhere) isHere(t loop.Target) bool {
	if t.Client != 0 || t.Name == "" {
		return t.Client != 0
	}
	_, known := e.hub.ClientNumber(t.Name)
	return known
}

// Disconnect is loop.Hub.Disconnect, of all nodes; so are the next four. The error may be a *loop.Partly, beside a result.
func (e *Everywhere) Disconnect(ctx context.Context, t loop.Target, code uint16, reason string) (clients int, err error) {
	if clients, err = e.hub.Disconnect(ctx, t, code, reason); err != nil || e.isHere(t) {
		return clients, err
	}
	return e.act(ctx, askDisconnect, &act{User: t.User, Name: t.Name, Code: code, Reason: reason}, clients)
}

// Unsubscribe is like Disconnect.
func (e *Everywhere) Unsubscribe(ctx context.Context, t loop.Target, group string) (clients int, err error) {
	if clients, err = e.hub.Unsubscribe(ctx, t, group); err != nil || e.isHere(t) {
		return clients, err
	}
	return e.act(ctx, askUnsubscribe, &act{User: t.User, Name: t.Name, Group: group}, clients)
}

// Subscribe is like Disconnect.
func (e *Everywhere) Subscribe(ctx context.Context, t loop.Target, group string, info []byte) (clients int, err error) {
	if clients, err = e.hub.Subscribe(ctx, t, group, info); err != nil || e.isHere(t) {
		return clients, err
	}
	return e.act(ctx, askSubscribe, &act{User: t.User, Name: t.Name, Group: group, Info: info}, clients)
}

// Refresh is like Disconnect.
func (e *Everywhere) Refresh(ctx context.Context, t loop.Target, ends int64) (clients int, err error) {
	if clients, err = e.hub.Refresh(ctx, t, ends); err != nil || e.isHere(t) {
		return clients, err
	}
	return e.act(ctx, askRefresh, &act{User: t.User, Name: t.Name, Time: ends}, clients)
}

// Revoke is like Disconnect. A node that has not answered is told again until it has, and one that arrives is told too.
func (e *Everywhere) Revoke(ctx context.Context, user string, before int64) (clients int, err error) {
	if clients, err = e.hub.Revoke(ctx, user, before); err != nil {
		return clients, err
	}
	late := e.roster.boots() // of these, those that do not answer
	body, _ := json.Marshal(&act{User: user, Time: before})
	answers, _ := e.asker.ask(ctx, askSubject, late, askRevoke, body, e.acting)
	others, done := len(late), 1
	for _, answer := range answers {
		var n int
		if answer.wrong == "" && json.Unmarshal(answer.body, &n) == nil {
			clients += n
			done++
			late = slices.DeleteFunc(late, func(boot string) bool { return boot == answer.boot })
		}
	}
	e.roster.missed(late)
	return clients, partly(others, done)
}

// ClientName is loop.Hub.ClientName: the number is one of this node's.
func (e *Everywhere) ClientName(client uint64) string { return e.hub.ClientName(client) }

// ClientNumber is loop.Hub.ClientNumber: clients of other nodes have no number here, and are meant by their names.
func (e *Everywhere) ClientNumber(name string) (client uint64, ok bool) {
	return e.hub.ClientNumber(name)
}

// Users is loop.Hub.Users, and Snapshot is loop.Hub.Snapshot: both are of this node. Nodes says those of all.
func (e *Everywhere) Users() int { return e.hub.Users() }

// Snapshot is of this node.
func (e *Everywhere) Snapshot() loop.Snapshot { return e.hub.Snapshot() }

// NewPort is loop.Hub.NewPort.
func (e *Everywhere) NewPort() (*loop.Port, error) { return e.hub.NewPort() }

// Groups is loop.Hub.Groups, of all nodes: of a group that has members on several, Members is their sum. Where there are more than most,
// it may be that of some nodes. The error may be a *loop.Partly, beside a result.
func (e *Everywhere) Groups(ctx context.Context, match string, most int) (groups []loop.GroupInfo, more bool, err error) {
	if groups, more, err = e.hub.Groups(ctx, match, most); err != nil {
		return groups, more, err
	}
	answers, others := e.ask(ctx, askGroups, &act{Match: match, Most: most}, e.acting)
	at := make(map[string]int, len(groups))
	for i := range groups {
		at[groups[i].Name] = i
	}
	done := 1
	for _, answer := range answers {
		var some someGroups
		if answer.wrong != "" || json.Unmarshal(answer.body, &some) != nil {
			continue
		}
		done++
		more = more || some.More
		for _, g := range some.Groups {
			if i, known := at[g.Name]; known {
				groups[i].Members += g.Members
				groups[i].Loops += g.Loops
			} else if len(groups) < most {
				at[g.Name] = len(groups)
				groups = append(groups, g)
			} else {
				more = true
			}
		}
	}
	return groups, more, partly(others, done)
}

// MembersElsewhere is how many members a group without presence has on other nodes, up to a second ago; where there is presence homes
// know it. However many ask at a time, the nodes are asked once. The error is a *loop.Partly, beside a result, or ctx's.
func (e *Everywhere) MembersElsewhere(ctx context.Context, group string) (members int, err error) {
	c, begins := e.counts.of(group)
	if begins {
		answers, others := e.ask(e.asker.ctx, askMembers, &act{Group: group}, e.counting)
		answered := 1
		for _, answer := range answers {
			var n int
			if answer.wrong == "" && json.Unmarshal(answer.body, &n) == nil {
				c.members += n
				answered++
			}
		}
		c.err = partly(others, answered)
		close(c.known)
	}
	select {
	case <-c.known:
		return c.members, c.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// of is the count of a group; begins: it is the caller's to make. All are forgotten together, a second after the first.
func (c *counts) of(group string) (count *countOf, begins bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.groups == nil || len(c.groups) >= countedMax || time.Since(c.since) > countedFor {
		c.groups, c.since = map[string]*countOf{}, time.Now()
	}
	count = c.groups[group]
	if begins = count == nil; begins {
		count = &countOf{known: make(chan struct{})}
		c.groups[group] = count
	}
	return count, begins
}

// Nodes is all nodes, as each says of itself, this one first. The error is a *loop.Partly, beside a result.
func (e *Everywhere) Nodes(ctx context.Context) (nodes []loop.NodeInfo, err error) {
	answers, others := e.ask(ctx, askInfo, &act{}, e.counting)
	for _, answer := range answers {
		var n loop.NodeInfo
		if answer.wrong == "" && json.Unmarshal(answer.body, &n) == nil {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b loop.NodeInfo) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	nodes = slices.Insert(nodes, 0, e.info())
	return nodes, partly(others, len(nodes))
}

// answer does what another node asks.
func (e *Everywhere) answer(ctx context.Context, what string, body []byte) ([]byte, error) {
	if what == askRevocations {
		return nil, e.learn(ctx, body)
	}
	var a act
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	var result any
	var err error
	switch what {
	case askDisconnect:
		result, err = e.hub.Disconnect(ctx, a.target(), a.Code, a.Reason)
	case askUnsubscribe:
		result, err = e.hub.Unsubscribe(ctx, a.target(), a.Group)
	case askSubscribe:
		result, err = e.hub.Subscribe(ctx, a.target(), a.Group, a.Info)
	case askRefresh:
		result, err = e.hub.Refresh(ctx, a.target(), a.Time)
	case askRevoke:
		result, err = e.hub.Revoke(ctx, a.User, a.Time)
	case askMembers:
		result, err = e.members(ctx, a.Group)
	case askGroups:
		var some someGroups
		some.Groups, some.More, err = e.hub.Groups(ctx, a.Match, a.Most)
		result = some
	case askInfo:
		result = e.info()
	default:
		err = fmt.Errorf("%q is not known here", what)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// info is what this node says of itself.
func (e *Everywhere) info() loop.NodeInfo {
	snap := e.hub.Snapshot()
	total, n := snap.Total(), e.self
	n.Clients, n.Users, n.Members, n.Groups = total.Clients, int64(e.hub.Users()), total.Members, total.Groups
	n.Uptime = int64(time.Since(snap.Started) / time.Second)
	return n
}

// learn takes revocations that another node knows.
func (e *Everywhere) learn(ctx context.Context, body []byte) error {
	var all []revocation
	if err := json.Unmarshal(body, &all); err != nil {
		return err
	}
	for _, r := range all {
		if e.hub.RevokedBefore(r.User) >= r.Before {
			continue
		}
		if _, err := e.hub.Revoke(ctx, r.User, r.Before); err != nil {
			return err
		}
	}
	return nil
}

// teach tells nodes that have arrived, or have missed something, of all revocations, until ctx ends.
func (e *Everywhere) teach(ctx context.Context, ticks <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		if n%beatTicks != 0 {
			continue
		}
		for _, boot := range e.roster.toTeach() {
			e.roster.taught(boot, e.teachOne(ctx, boot) == nil)
		}
	}
}

func (e *Everywhere) teachOne(ctx context.Context, boot string) (err error) {
	var page []revocation
	send := func() {
		body, _ := json.Marshal(page)
		err = e.asker.one(ctx, boot, askRevocations, body, actTime)
		page = page[:0]
	}
	for user, before := range e.hub.Revocations() {
		if page = append(page, revocation{user, before}); len(page) == revocationsPage {
			if send(); err != nil {
				return err
			}
		}
	}
	if len(page) > 0 {
		send()
	}
	return err
}

// The words of others that this file speaks.
var (
	_ order.Company = (*announcer)(nil)
	_ everywhereHub = (*loop.Hub)(nil)
)
