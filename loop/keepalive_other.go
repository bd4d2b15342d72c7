//go:build !linux

package loop

import "time"

// setKeepAlive does nothing where connections may not inherit these settings from their listener. Heartbeats detect peers
// that are gone there too.
func setKeepAlive(int, time.Duration, time.Duration) error { return nil }
