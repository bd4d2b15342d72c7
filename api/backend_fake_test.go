package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
)

// fakeBackend is a server of one home and no loops. The names of groups say what becomes of what is asked: see its methods.
type fakeBackend struct {
	mu     sync.Mutex
	said   map[string][]Said // by group
	keys   map[string]Receipt
	calls  []string // what else was asked
	most   int      // publishes of which the word had not come, at one time
	begun  int
	full   int          // offers that are refused yet, when some are under way
	during func()       // called by every Wait
	until  time.Time    // for as long the last one would have waited
	some   *loop.Partly // what is beside every result that is of several nodes
	nodes  []loop.NodeInfo
	here   map[string][]loop.Present // by group, in presence channels
	cached map[string]*loop.Message  // by group
}

const fakeEpoch = 0xabc

func newFakeBackend() *fakeBackend {
	return &fakeBackend{said: map[string][]Said{}, keys: map[string]Receipt{}}
}

// fakeErrors are what is answered to groups of these names.
var fakeErrors = map[string]error{
	"busy": loop.ErrBusy, "stopping": loop.ErrStopping, "bad": loop.ErrBadGroup, "long": loop.ErrBadMessage, "closed": loop.ErrClosed,
	"apart": loop.ErrUnavailable, "broken": errors.New("something of ours"), "panic": loop.ErrUnknown, "plain": loop.ErrNoHistory, "revoked": loop.ErrRevokedFull,
}

func (b *fakeBackend) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
}

// Offer keeps what is said in groups that begin with "kept".
func (b *fakeBackend) Offer(group string, s Said) (Pending, error) {
	if err := fakeErrors[group]; err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begun > 0 && b.full > 0 {
		b.full--
		return nil, loop.ErrBusy
	}
	b.begun++
	b.most = max(b.most, b.begun)
	s.Payload, s.Tags = slices.Clone(s.Payload), slices.Clone(s.Tags)
	name := group + " " + s.Key
	if r, seen := b.keys[name]; seen && s.Key != "" {
		r.Repeated = true
		return fakePending{b, group, r}, nil
	}
	b.said[strings.Clone(group)] = append(b.said[group], s)
	r := Receipt{Members: 3, Kept: strings.HasPrefix(group, "kept") && !s.Unkept}
	r.Position.Offset, r.Position.Epoch = uint64(len(b.said[group])), fakeEpoch
	b.keys[name] = r
	return fakePending{b, group, r}, nil
}

type fakePending struct {
	b     *fakeBackend
	group string
	r     Receipt
}

// Wait refuses what is said to "loud" and "minority", does not know what has become of what is said to "no word", and is never told of what is said to "slow", or in time of what is said to "stopped".
func (p fakePending) Wait(ctx context.Context) (Receipt, error) {
	p.b.mu.Lock()
	p.b.begun--
	during := p.b.during
	p.b.until, _ = ctx.Deadline()
	p.b.mu.Unlock()
	if during != nil {
		during()
	}
	switch p.group {
	case "loud":
		return Receipt{}, loop.ErrBusy
	case "minority":
		return Receipt{}, loop.ErrUnavailable
	case "no word":
		return Receipt{}, loop.ErrUnconfirmed
	case "slow":
		return Receipt{}, context.DeadlineExceeded
	case "stopped":
		return Receipt{}, loop.ErrStopping
	}
	return p.r, ctx.Err()
}

func (b *fakeBackend) History(_ context.Context, group string, a Ask) (*Past, error) {
	b.note("history %s %+v", group, a)
	if err := fakeErrors[group]; err != nil {
		return nil, err
	}
	if !strings.HasPrefix(group, "kept") {
		return &Past{None: true}, nil
	}
	if a.Since.Epoch != 0 && a.Since.Epoch != fakeEpoch {
		return &Past{Lost: true}, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &Past{}
	p.Top.Offset, p.Top.Epoch = uint64(len(b.said[group])), fakeEpoch
	for i, s := range b.said[group] {
		if a.Limit < 0 || i < a.Limit {
			p.Messages = append(p.Messages, fakeMessage(s, uint64(i+1)))
		}
	}
	return p, nil
}

// Presence has two members in groups that begin with "here".
func (b *fakeBackend) Presence(_ context.Context, group string) (*Past, error) {
	if err := fakeErrors[group]; err != nil {
		return nil, err
	}
	switch {
	case b.here[group] != nil:
		return presentPast(b.here[group]), b.partly(nil)
	case group == "crowd", group == "presence-crowd":
		return &Past{Crowded: true, Members: 5000, Users: 400}, nil
	case strings.HasPrefix(group, "here"):
		return &Past{Members: 2, Users: 2, Present: []loop.Present{
			{Client: 65, Who: dialect.WhoIs{User: "ann", Info: []byte(`{"name":"Ann"}`), GroupInfo: []byte(`1`)}.Who()}, {Client: 66},
		}}, nil
	}
	return &Past{None: true, Members: 7}, b.partly(nil)
}

// presentPast is what a home says of those who are there, as order.Home does: who has no name counts as one user with the others who have none.
func presentPast(all []loop.Present) *Past {
	users := map[string]bool{}
	for _, one := range all {
		user := ""
		if one.Who != nil {
			user = one.Who.User()
		}
		users[user] = true
	}
	return &Past{Members: len(all), Users: len(users), Present: all}
}

// Cached has almost a minute left of everything.
func (b *fakeBackend) Cached(_ context.Context, group string) (*loop.Message, time.Duration, error) {
	return b.cached[group], 59*time.Second + time.Millisecond, fakeErrors[group]
}

func (b *fakeBackend) Forget(_ context.Context, group string) error {
	b.note("forget %s", group)
	if group == "no word" {
		return loop.ErrUnconfirmed
	}
	return fakeErrors[group]
}

func (b *fakeBackend) Groups(_ context.Context, match string, most int) (groups []GroupInfo, more bool, err error) {
	if err := fakeErrors[strings.TrimSuffix(match, "*")]; err != nil {
		return nil, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(b.said)) {
		if strings.HasSuffix(match, "*") && !loop.Matches(match, name) {
			continue
		}
		groups = append(groups, GroupInfo{Name: name, Members: 3})
	}
	return groups, match == "more", b.partly(nil)
}

// partly is that only some nodes have answered, if nothing else is wrong.
func (b *fakeBackend) partly(err error) error {
	if err == nil && b.some != nil {
		return b.some
	}
	return err
}

func (b *fakeBackend) Nodes(context.Context) ([]loop.NodeInfo, error) {
	return b.nodes, b.partly(nil)
}

func (b *fakeBackend) act(what string, t Target, rest ...any) (int, error) {
	if t.Name != "" {
		var known bool
		if t.Client, known = b.ClientNumber(t.Name); !known {
			return 0, nil
		}
	}
	b.note("%s %q %d %s", what, t.User, t.Client, strings.TrimSpace(fmt.Sprintln(rest...)))
	return 2, b.partly(fakeErrors[t.User])
}

func (b *fakeBackend) Disconnect(_ context.Context, t Target, code uint16, reason string) (int, error) {
	return b.act("disconnect", t, code, reason)
}

func (b *fakeBackend) Unsubscribe(_ context.Context, t Target, group string) (int, error) {
	return b.act("unsubscribe", t, group)
}

func (b *fakeBackend) Subscribe(_ context.Context, t Target, group string, info []byte) (int, error) {
	return b.act("subscribe", t, group, string(info))
}

func (b *fakeBackend) Refresh(_ context.Context, t Target, ends int64) (int, error) {
	return b.act("refresh", t, ends)
}

func (b *fakeBackend) Revoke(_ context.Context, user string, before int64) (int, error) {
	if before > time.Now().Unix()-60 {
		before = 0
	}
	return b.act("revoke", Target{User: user}, before)
}

func (b *fakeBackend) Users() int { return 4 }

func (b *fakeBackend) ClientName(client uint64) string {
	return "client-" + strconv.FormatUint(client, 10)
}

func (b *fakeBackend) ClientNumber(name string) (uint64, bool) {
	number, is := strings.CutPrefix(name, "client-")
	n, err := strconv.ParseUint(number, 10, 64)
	return n, is && err == nil
}

func (b *fakeBackend) Snapshot() loop.Snapshot {
	return loop.Snapshot{Started: time.Now().Add(-time.Hour), Loops: []loop.LoopStats{{Clients: 5, Members: 9, Homes: 3}}}
}
