package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringcast/loop"
)

// fakeHomes are the homes of a node: they record what comes through the inlet.
type fakeHomes struct {
	t         *testing.T
	mu        sync.Mutex
	said      map[int][]said2 // by partition
	answers   map[uint64][]string
	recalls   map[string][]recalled
	epochs    map[int][]epoch
	tips      map[int]uint64
	hold      chan struct{} // not nil: Ordered waits until it is closed
	partition func(group string) int
	orderer   loop.Orderer
	tokens    uint64
	closed    context.CancelFunc
	ctx       context.Context
}

// said2 is a message that has come.
type said2 struct {
	offset, prev uint64
	group, text  string
	key          string
	fast, forgot bool
	except       uint64
}

func newFakeHomes(t *testing.T) *fakeHomes {
	f := &fakeHomes{t: t, said: map[int][]said2{}, answers: map[uint64][]string{}, recalls: map[string][]recalled{}, epochs: map[int][]epoch{}, tips: map[int]uint64{}}
	f.ctx, f.closed = context.WithCancel(context.Background())
	return f
}

func (f *fakeHomes) SetOrderer(o loop.Orderer, partition func(string) int, _ int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orderer, f.partition = o, partition
}
func (f *fakeHomes) ClientName(n uint64) string { return "client-" + strconv.FormatUint(n, 10) }

func (f *fakeHomes) ClientNumber(name string) (n uint64, is bool) {
	digits, is := strings.CutPrefix(name, "client-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, is && err == nil
}

func (f *fakeHomes) Ordered(ctx context.Context, o ordered) error {
	f.mu.Lock()
	hold := f.hold
	f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ctx.Done():
			return loop.ErrClosed
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := said2{o.Offset, o.Prev, o.Message.Group, string(o.Message.Payload()), o.Key, o.Fast, o.Forgets, exceptOf(o.Message)}
	if !o.Fast {
		if tip := f.tips[o.Partition]; tip >= o.Offset {
			f.t.Errorf("partition %d: got offset %d behind %d", o.Partition, o.Offset, tip)
		}
		f.tips[o.Partition] = o.Offset
		if len(f.epochs[o.Partition]) == 0 {
			f.t.Errorf("partition %d: got a message before its epoch", o.Partition)
		}
		if o.Prev >= o.Offset {
			f.t.Errorf("partition %d: got prev %d of offset %d", o.Partition, o.Prev, o.Offset)
		}
	}
	f.said[o.Partition] = append(f.said[o.Partition], s)
	if o.Token != 0 {
		f.answers[o.Token] = append(f.answers[o.Token], fmt.Sprintf("ok %d", o.Offset))
	}
	return nil
}

// exceptOf is the client of this node that is not sent a message; 0: none.
func exceptOf(m *loop.Message) uint64 {
	if m.More == nil {
		return 0
	}
	return m.More.Except
}

func (f *fakeHomes) answer(token uint64, what string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[token] = append(f.answers[token], what)
	return nil
}

func (f *fakeHomes) Refused(_ context.Context, _ int, token uint64, why error) error {
	name := map[error]string{errBusy: "busy", errUnavailable: "unavailable", errUnconfirmed: "unknown", errTooLarge: "too large"}[why]
	return f.answer(token, name)
}

func (f *fakeHomes) Repeated(_ context.Context, _ int, token uint64, first uint64) error {
	return f.answer(token, fmt.Sprintf("repeat %d", first))
}

func (f *fakeHomes) Recalled(_ context.Context, _ int, r recalled) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recalls[r.Group] = append(f.recalls[r.Group], r)
	return nil
}

func (f *fakeHomes) Epoch(_ context.Context, partition int, e epoch, tip uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if all := f.epochs[partition]; len(all) == 0 || all[len(all)-1] != e {
		f.epochs[partition] = append(all, e)
	}
	f.tips[partition] = tip
	return nil
}

func (f *fakeHomes) Close() { f.closed() }

// node is a node of a cluster in this process.
type node struct {
	*Cluster
	f      *fakeHomes
	config Config
}

func (n *node) offer(group, text string, with func(*offer)) (token uint64, taken bool) {
	n.f.mu.Lock()
	n.f.tokens++
	token = n.f.tokens
	n.f.mu.Unlock()
	m := loop.NewOrderedMessage([]byte(group), []byte(text), false, nil)
	o := offer{Partition: n.hash(group), Message: m, Token: token}
	if with != nil {
		with(&o)
	}
	return token, n.Offer(o.Partition%2, o)
}

// say offers until it is taken.
func (n *node) say(group, text string) uint64 {
	for {
		if token, taken := n.offer(group, text, nil); taken {
			return token
		}
		pause(context.Background(), time.Millisecond)
	}
}

// answerTo waits for the answer to an offer.
func (n *node) answerTo(t *testing.T, token uint64) string {
	t.Helper()
	is, err := n.answer(token)
	if err != nil {
		t.Fatal(err)
	}
	return is
}

// answer is answerTo for any goroutine.
func (n *node) answer(token uint64) (string, error) {
	var is []string
	waited(func() bool {
		n.f.mu.Lock()
		defer n.f.mu.Unlock()
		is = slices.Clone(n.f.answers[token])
		return len(is) > 0
	})
	if len(is) != 1 {
		return "", fmt.Errorf("answers to offer %d on %s: got %v, want one", token, n.config.Node, is)
	}
	return is[0], nil
}

// heard is what a group's members on a node have heard, as "offset text".
func (n *node) heard(group string) (all []string) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	for _, s := range n.f.said[n.hash(group)] {
		if s.group == group {
			all = append(all, fmt.Sprintf("%d %s", s.offset, s.text))
		}
	}
	return all
}

func (n *node) recallGroup(t *testing.T, group string) recalled {
	t.Helper()
	n.f.mu.Lock()
	before := len(n.f.recalls[group])
	n.f.mu.Unlock()
	if !n.Recall(0, group) {
		t.Fatal("a recall was refused")
	}
	var is recalled
	until(t, "the recall of "+group, func() bool {
		n.f.mu.Lock()
		defer n.f.mu.Unlock()
		if all := n.f.recalls[group]; len(all) > before {
			is = all[before]
			return true
		}
		return false
	})
	return is
}

func texts(r recalled) (all []string) {
	for _, m := range r.Messages {
		all = append(all, fmt.Sprintf("%d %s", m.Offset, m.Payload()))
	}
	return all
}

// patience is how long a test waits for something that is sure to happen: longer than any offer of these tests waits.
const patience = 60 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	if !waited(is) {
		t.Fatalf("waited for %s: it has not come", what)
	}
}

// waited is until for any goroutine; false: it has not come.
func waited(is func() bool) bool {
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			return false
		}
		pause(context.Background(), 2*time.Millisecond)
	}
	return true
}

// testLog shows what nodes log with -v.
func testLog(name string) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", name)
}

// alone is the configuration of a cluster of one node.
func aloneConfig(t *testing.T) Config {
	return Config{Name: "test", Node: "one", StoreDir: t.TempDir(), Replicas: 1, Partitions: 2, StoreMax: 256 << 20, Wait: 20 * time.Second, HistoryMax: 100, Log: testLog("one")}
}

// start starts a node, and stops it when the test ends.
func start(t *testing.T, config Config, lose func(int, uint64) bool) *node {
	t.Helper()
	n, err := tryStart(t, config, lose)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func tryStart(t *testing.T, config Config, lose func(int, uint64) bool) (*node, error) {
	n := &node{f: newFakeHomes(t), config: config}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var err error
	if n.Cluster, err = open(ctx, config, n.f, n.f, lose); err != nil {
		return nil, err
	}
	t.Cleanup(n.Close)
	return n, nil
}

// threeConfigs are the configurations of three nodes that find each other.
func threeConfigs(t *testing.T) (configs []Config) {
	peers := []string{quietAddr(t), quietAddr(t), quietAddr(t)}
	for i, peer := range peers {
		name := "n" + strconv.Itoa(i)
		configs = append(configs, Config{Name: "test", Node: name, Listen: peer, Peers: peers, Token: "secret", StoreDir: t.TempDir(), Replicas: 3, Partitions: 4,
			StoreMax: 256 << 20, Wait: 4 * time.Second, HistoryMax: 100, Log: testLog(name)})
	}
	return configs
}

// quietAddr is an address at which nothing listens. Its port is below those that the kernel gives to connections, and to who listens on any port, which
// could take it while a node is down; no other package's tests, nor the bench, take it; and it is given once.
func quietAddr(t *testing.T) string {
	t.Helper()
	var last error
	for range quietPorts {
		address := fmt.Sprintf("127.0.0.1:%d", quietFirst+(quietStart+int(quietGiven.Add(1)))%quietPorts)
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
		last = err
	}
	t.Fatalf("no free port on 127.0.0.1: %v", last)
	return ""
}

const quietFirst, quietPorts = 10_000, 1_000

// Ports are given in a row that begins anywhere, so that two processes seldom give the same.
var (
	quietStart = rand.IntN(quietPorts)
	quietGiven atomic.Int32
)

// startAll starts nodes at the same time.
func startAll(t *testing.T, configs []Config, lose func(int, uint64) bool) []*node {
	t.Helper()
	all := make([]*node, len(configs))
	errs := make([]error, len(configs))
	var wg sync.WaitGroup
	for i := range configs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			all[i], errs[i] = tryStart(t, configs[i], lose)
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

func mustHave(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", what, got, want)
		}
	}
}
