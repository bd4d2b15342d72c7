package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// status asks a server for its own figures, over HTTP on a unix socket: GET /status answers a JSON object. Only two of
// its fields are used, so any server may offer them.
type status struct{ client http.Client }

// ownFigures are figures that only the server knows.
type ownFigures struct {
	PID         int   `json:"pid"`
	HeapBytes   int64 `json:"heap_bytes"`
	Allocations int64 `json:"heap_allocations"` // objects, since the start
}

const statusTimeout = 5 * time.Second

// openStatus connects to a status socket. Without a path it tries the path of ringcast's own, and uses it only if it
// belongs to the process that is measured; nil then means that there is none. A path that was given has to answer.
func openStatus(path string, v *victim) (*status, error) {
	given := path != ""
	if !given {
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("ringcast-%d", os.Getuid()))
		if runtime := os.Getenv("XDG_RUNTIME_DIR"); runtime != "" {
			dir = filepath.Join(runtime, "ringcast")
		}
		path = filepath.Join(dir, "ringcast.sock")
	}
	s := &status{http.Client{Timeout: statusTimeout, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}}
	f := s.read()
	switch {
	case f == nil && given:
		s.close()
		return nil, fmt.Errorf("--status %s: GET /status is not answered there", path)
	case f == nil || !given && (v == nil || !slices.Contains(v.pids, f.PID)):
		s.close()
		return nil, nil
	}
	return s, nil
}

// read asks once; nil when there is no answer.
func (s *status) read() *ownFigures {
	if s == nil {
		return nil
	}
	answer, err := s.client.Get("http://status/status")
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	var f ownFigures
	if answer.StatusCode != http.StatusOK || json.NewDecoder(answer.Body).Decode(&f) != nil {
		return nil
	}
	return &f
}

func (s *status) close() {
	if s != nil {
		s.client.CloseIdleConnections()
	}
}
