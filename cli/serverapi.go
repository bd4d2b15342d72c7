package cli

import (
	"crypto/rand"
	"fmt"
	"os"

	"ringcast/api"
	"ringcast/cli/settings"
)

// serverAPI is the server API of a server, on all its HTTP ports.
type serverAPI struct {
	*api.Server
	keys    *api.Keys
	backend *api.HubBackend
}

// openServerAPI makes it. recoveryMax is how many messages a history may be answered with.
func openServerAPI(s *settings.Settings, h hub, version string, recoveryMax func() int) *serverAPI {
	a := &serverAPI{keys: &api.Keys{}, backend: api.NewHubBackend(h)}
	a.apply(s)
	name, err := os.Hostname()
	if err != nil {
		name = "ringcast"
	}
	a.Server = api.NewServer(api.ServerConfig{Backend: a.backend, Keys: a.keys, Name: name, UID: newUID(), Version: version, RecoveryMax: recoveryMax})
	return a
}

// apply has the keys of settings count.
func (a *serverAPI) apply(s *settings.Settings) { a.keys.Set(s.APIKeys) }

// newUID is a name that no other process has: a random UUID (RFC 9562 §5.4).
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
