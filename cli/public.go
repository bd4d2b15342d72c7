package cli

import (
	"log/slog"

	"ringcast/api"
	"ringcast/cli/settings"
	"ringcast/web"
)

// openPublic makes the HTTP server on the port for WebSockets.
func openPublic(s *settings.Settings, h hub, server *serverAPI, log *slog.Logger) *api.Public {
	return api.NewPublic(api.PublicConfig{PublicBounds: publicBounds(s), Page: web.Demo, AllowsOrigin: h.AllowsOrigin, Log: log,
		API: server, Keyed: server.keys.Has, AnyKey: server.keys.Any})
}

// publicBounds are its bounds as the operator has set them.
func publicBounds(s *settings.Settings) api.PublicBounds {
	return api.PublicBounds(s.HTTP)
}
