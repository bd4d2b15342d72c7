package cli

import (
	"log/slog"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/web"
)

// openPublic makes the HTTP server on the port for WebSockets.
func openPublic(s *settings.Settings, h hub, server *serverAPI, log *slog.Logger) *api.Public {
	return api.NewPublic(api.PublicConfig{PublicBounds: publicBounds(s, h), Page: web.Demo, AllowsOrigin: h.AllowsOrigin, Log: log,
		API: server, Pusher: server.pusher, Keyed: server.showsKey, AnyKey: server.anyKey, Wait: s.Cluster.Wait})
}

// publicBounds are its bounds as the operator has set them. It has no more than half of all connections: pages that were looked at keep
// theirs for a while, and must not keep WebSockets out.
func publicBounds(s *settings.Settings, h hub) api.PublicBounds {
	b := api.PublicBounds(s.HTTP)
	b.ConnectionsMax = min(b.ConnectionsMax, max(h.Snapshot().ClientsMax/2, 1))
	return b
}
