package cli

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/loop/door"
	"ringcast/webhook"
)

// serverAPI is what backends ask of a server: the server API, on all its HTTP ports, and that of the Pusher protocol; and what they are
// told, webhooks.
type serverAPI struct {
	*api.Server
	pusher  *api.Pusher
	hooks   *webhook.Hooks
	keys    *api.Keys
	apps    atomic.Pointer[door.Apps]
	backend *api.HubBackend
}

// openServerAPI makes it. recoveryMax is how many messages a history may be answered with.
func openServerAPI(s *settings.Settings, h hub, hooks *webhook.Hooks, version string, recoveryMax func() int) *serverAPI {
	a := &serverAPI{hooks: hooks, keys: &api.Keys{}, backend: api.NewHubBackend(h)}
	a.apply(s)
	name, err := os.Hostname()
	if err != nil {
		name = "ringcast"
	}
	a.Server = api.NewServer(api.ServerConfig{Backend: a.backend, Keys: a.keys, Name: name, UID: newUID(), Version: version, RecoveryMax: recoveryMax, Wait: s.Cluster.Wait})
	a.pusher = api.NewPusher(api.PusherConfig{Backend: a.backend, Apps: a.apps.Load, Wait: s.Cluster.Wait})
	return a
}

// apply has the keys and the apps of settings count.
func (a *serverAPI) apply(s *settings.Settings) {
	a.keys.Set(s.APIKeys)
	a.apps.Store(s.Loop.Apps)
	a.hooks.Apply(s.Loop.Apps)
}

// showsKey says whether a request is a backend's: it shows a key, or an app has signed it.
func (a *serverAPI) showsKey(r *http.Request) bool { return a.keys.Has(r) || a.pusher.Keyed(r) }

// anyKey says whether there are keys or apps.
func (a *serverAPI) anyKey() bool { return a.keys.Any() || a.pusher.Any() }

// newUID is a name that no other process has: a random UUID (RFC 9562 §5.4).
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
