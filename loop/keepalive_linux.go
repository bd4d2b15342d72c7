package loop

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setKeepAlive has the kernel detect peers that are gone without a FIN or RST, for a listening socket and all connections
// that are accepted from it. idle is the time without traffic after which it probes (TCP keepalive, RFC 1122 §4.2.3.6);
// untaken is how long bytes or probes may go unacknowledged before it ends the connection (TCP_USER_TIMEOUT, RFC 5482). 0 or
// negative: off.
func setKeepAlive(fd int, idle, untaken time.Duration) error {
	set := func(what string, level, option, value int) error {
		if err := unix.SetsockoptInt(fd, level, option, value); err != nil {
			return fmt.Errorf("%s %d: %w", what, value, err)
		}
		return nil
	}
	if idle > 0 {
		// The kernel's bound on the idle time is 32,767 s, nine hours.
		seconds := min(max(int(idle/time.Second), 1), keepIdleMax)
		for _, o := range []struct {
			what          string
			level, option int
			value         int
		}{
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(seconds/keepProbes, 1)},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepProbes},
		} {
			if err := set(o.what, o.level, o.option, o.value); err != nil {
				return err
			}
		}
	}
	if untaken > 0 {
		return set("TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(untaken/time.Millisecond))
	}
	return nil
}

const (
	keepIdleMax = 32_767
	keepProbes  = 4 // together they take as long again as the idle time
)

// keepAliveOf is what setKeepAlive sets for an idle time, as package net has it.
func keepAliveOf(idle time.Duration) net.KeepAliveConfig {
	seconds := min(max(idle/time.Second, 1), keepIdleMax)
	return net.KeepAliveConfig{Enable: idle > 0, Idle: seconds * time.Second, Interval: max(seconds/keepProbes, 1) * time.Second, Count: keepProbes}
}
