package cli

import (
	"context"
	"hash/fnv"
	"log/slog"
	"sync/atomic"
	"time"

	"ringcast/webhook"
)

// What clients that have been closed leave behind them is told within the first of these: pages come back after a second, and a backend must not
// hear from the next server that a channel is occupied before it hears from this one that it was vacated. Then a request may take as long as the second.
const (
	hooksLeave    = 700 * time.Millisecond
	hooksPatience = time.Second
)

// openWebhooks makes what tells backends of their channels. It tells nobody until settings are applied.
func openWebhooks(h hub, n *node, log *slog.Logger) *webhook.Hooks {
	c := webhook.Config{Hub: h, Log: log}
	if n != nil {
		t := &tellers{node: n.settings.Node}
		c.Begin, c.Tells = func() { t.begin(n.up) }, t.tells
	}
	return webhook.New(c)
}

// endWebhooks tells what becomes of channels as the clients go, until they have gone or there is no time left.
func endWebhooks(hooks *webhook.Hooks, gone <-chan struct{}) {
	hooks.Hurry()
	select {
	case <-gone:
	case <-time.After(hooksLeave):
	}
	closeWebhooks(hooks)
}

// closeWebhooks tells what waits, as far as there is time.
func closeWebhooks(hooks *webhook.Hooks) {
	ctx, cancel := context.WithTimeout(context.Background(), hooksPatience)
	defer cancel()
	hooks.Close(ctx)
}

// up are the names of the nodes of the cluster that this node hears, itself among them; false: it has left it for good.
func (n *node) up() (names []string, is bool) {
	n.mu.Lock()
	node, closed := n.is, n.closed
	n.mu.Unlock()
	if node == nil || closed {
		return nil, !closed
	}
	for _, one := range node.Nodes() {
		if one.Up {
			names = append(names, one.Name)
		}
	}
	return names, true
}

// tellers are the nodes of a cluster, each of which tells backends of a part of what all nodes know: of a group that node whose name gives with
// the group's the largest hash. So all agree while they hear each other, and when one comes or goes no more changes than its part.
//
// Owner: any goroutine.
type tellers struct {
	node  string // this one
	names atomic.Pointer[[]string]
}

// tellersFor is for how long the names are as they were: homes ask each time, and they must not wait.
const tellersFor = 100 * time.Millisecond

// begin has the names be right from now on, until this node has left the cluster; then others tell. A server without webhooks does not call it.
func (t *tellers) begin(up func() (names []string, is bool)) {
	if t.look(up) {
		go t.follow(up)
	}
}

func (t *tellers) follow(up func() (names []string, is bool)) {
	again := time.NewTicker(tellersFor)
	defer again.Stop()
	for range again.C {
		if !t.look(up) {
			return
		}
	}
}

// look takes over the names; false: they will be the same for ever.
func (t *tellers) look(up func() (names []string, is bool)) bool {
	names, is := up()
	t.names.Store(&names)
	return is
}

// tells says whether this node tells of a group.
func (t *tellers) tells(group string) bool {
	best, most := "", uint64(0)
	if names := t.names.Load(); names != nil {
		for _, name := range *names {
			if s := share(name, group); s > most || s == most && name > best {
				best, most = name, s
			}
		}
	}
	return best == t.node
}

// share is a number that looks random for each node and group.
func share(node, group string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(node + "\x00" + group)) // it never fails
	sum := h.Sum64()
	sum ^= sum >> 33 // or the last byte would weigh little
	sum *= 0xff51afd7ed558ccd
	return sum ^ sum>>33
}
