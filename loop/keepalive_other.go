//go:build !linux

package loop

import "time"

// setKeepAlive does nothing where sockets do not inherit these settings from their listener; heartbeats find peers that
// are gone there too.
func setKeepAlive(int, time.Duration, time.Duration) error { return nil }
