//go:build !linux

package loop

import (
	"net"
	"time"
)

// setKeepAlive does nothing where connections may not inherit these settings from their listener. Heartbeats detect peers
// that are gone there too.
func setKeepAlive(int, time.Duration, time.Duration) error { return nil }

// keepAliveOf is what setKeepAlive sets, as package net has it: nothing.
func keepAliveOf(time.Duration) net.KeepAliveConfig { return net.KeepAliveConfig{} }
