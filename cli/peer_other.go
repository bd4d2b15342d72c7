//go:build !linux

package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// listenerPID asks the server itself. Package syscall can ask the kernel on Linux only, which is better, see peer_linux.go.
func listenerPID(dir runDir) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	body, err := askControl(ctx, dir, http.MethodGet, "/status")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	var s Status
	err = json.NewDecoder(body).Decode(&s)
	return s.PID, err
}
