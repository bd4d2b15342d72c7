//go:build !linux

package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// listenerPID asks the server itself. Only Linux lets the kernel be asked in a way that the syscall package knows; see
// peer_linux.go for what that is worth.
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
