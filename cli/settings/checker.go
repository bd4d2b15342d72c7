package settings

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringcast/loop"
)

// checker turns texts into values and keeps the first error.
type checker struct {
	g   *Globals
	err error
}

func (c *checker) wrong(flag, value, format string, args ...any) {
	if c.err == nil {
		c.err = Usagef("--%s %q%s "+format, append([]any{flag, value, c.g.Origin(flag)}, args...)...)
	}
}

func (c *checker) listen(flag, value string) string {
	const mend = "write HOST:PORT, such as 0.0.0.0:1234, 127.0.0.1:1234 or [::]:1234"
	host, port, err := net.SplitHostPort(value)
	switch {
	case strings.Contains(value, "://"):
		c.wrong(flag, value, "has a scheme; leave it off and %s", mend)
	case err != nil && isPort(value):
		c.wrong(flag, value, "is a port alone; write :%s for all addresses of this machine, or 127.0.0.1:%s", value, value)
	case err != nil:
		c.wrong(flag, value, "is not an address with a port; %s", mend)
	case !isHost(host):
		c.wrong(flag, value, "has an invalid host; %s", mend)
	default:
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
			c.wrong(flag, value, "has no port between 0 and 65535; %s", mend)
		}
	}
	return value
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// isHost says whether a host can be an address or a name; empty stands for all addresses. What looks like an address and is none
// would be looked up as a name, in vain, and some resolvers take long for that.
func isHost(host string) bool {
	if strings.Trim(host, "0123456789.") == "" || strings.ContainsAny(host, ":%") {
		_, err := netip.ParseAddr(host)
		return host == "" || err == nil
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._", c) >= 0) {
			return false
		}
	}
	return true
}

// listens is a list of addresses, each of HOST:PORT or of a unix socket.
func (c *checker) listens(flag string, values []string) (all []string) {
	seen := map[string]bool{}
	for _, value := range values {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		name := value
		if strings.HasPrefix(value, "unix:") {
			a, err := loop.ParseListen(value)
			if err != nil {
				c.wrong(flag, value, "%v", err)
			}
			name = a.Path()
		} else {
			c.listen(flag, value)
		}
		if seen[name] && !strings.HasSuffix(name, ":0") {
			c.wrong(flag, value, "is named twice; name it once")
		}
		seen[name] = true
		all = append(all, value)
	}
	switch text := strings.Join(values, ","); {
	case len(all) == 0:
		c.wrong(flag, text, "names no address; write HOST:PORT, such as 0.0.0.0:1234, or unix:///PATH")
	case len(all) > loop.ListenMax:
		c.wrong(flag, text, "names %d addresses; name at most %d", len(all), loop.ListenMax)
	}
	return all
}

// listenOff is an address, empty for off.
func (c *checker) listenOff(flag, value string) string {
	if value == "off" {
		return ""
	}
	return c.listen(flag, value)
}

// hosts is a list of host names, in lower case.
func (c *checker) hosts(flag, value string) (hosts []string) {
	const mend = "write names such as ringcast.internal, separated by commas"
	for _, host := range strings.Split(value, ",") {
		switch host = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(host)), "."); {
		case host == "":
		case strings.Contains(host, "://"):
			c.wrong(flag, value, "has a scheme in %q; leave it off and %s", host, mend)
		case strings.Contains(host, "*"):
			c.wrong(flag, value, "has a wildcard in %q, which anybody's name might match; %s", host, mend)
		case !isHost(host):
			c.wrong(flag, value, "contains %q, which is no host name; leave off port and path and %s", host, mend)
		default:
			hosts = append(hosts, host)
		}
	}
	if n := len(hosts); n > adminHostsMax {
		c.wrong(flag, value, "names %d hosts; name at most %d", n, adminHostsMax)
	}
	return hosts
}

// adminHostsMax bounds --admin-hosts: each request for the page compares with all of them.
const adminHostsMax = 64

// portOfItsOwn refuses an address whose port is that of another option. Left to the kernel it would be another program's.
func (c *checker) portOfItsOwn(flag, value, first, its string) {
	host, port, err := net.SplitHostPort(value)
	other, taken, otherErr := net.SplitHostPort(its)
	if err != nil || otherErr != nil || port != taken || port == "0" {
		return
	}
	if host == other || isWildcard(host) || isWildcard(other) {
		mend := "name another port, or off"
		switch {
		case flag == "tls-listen" && first == "listen":
			mend = "name another port for one of the two, or set --listen off"
		case flag == "tls-listen":
			mend = "name another port for one of the two"
		}
		c.wrong(flag, value, "has the port of --%s %q; %s", first, its, mend)
	}
}

// isWildcard says whether a host stands for all addresses of the machine.
func isWildcard(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func (c *checker) loops(flag, value string) int {
	if value == "auto" {
		return min(c.g.reading.CPUs, loop.LoopsMax)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > loop.LoopsMax {
		c.wrong(flag, value, "must be a whole number from 1 to %d, or auto for one per CPU", loop.LoopsMax)
	}
	return n
}

func (c *checker) duration(flag, value string, least, most time.Duration) time.Duration {
	return c.durationOr(flag, value, "", least, most)
}

// durationOr is a duration, -1 where the word for none stands, if there is one.
func (c *checker) durationOr(flag, value, none string, least, most time.Duration) time.Duration {
	d, mend := readDuration(value, none, least, most)
	if mend != "" {
		c.wrong(flag, value, "%s", mend)
	}
	return d
}

// readDuration is durationOr for a text from anywhere: mend says what is wrong with it, and how to mend it.
func readDuration(text, none string, least, most time.Duration) (d time.Duration, mend string) {
	or := ""
	if none != "" {
		if text == none {
			return -1, ""
		}
		or = ", or " + none
	}
	d, err := time.ParseDuration(text)
	if n, days := strconv.Atoi(strings.TrimSuffix(text, "d")); days == nil && strings.HasSuffix(text, "d") && n > 0 && n < daysMax {
		mend = fmt.Sprintf("is in days; write %dh", 24*n)
	} else if n, bare := strconv.Atoi(text); bare == nil && n > 0 {
		mend = fmt.Sprintf("has no unit; write %ss for seconds", text)
	} else if err != nil {
		mend = fmt.Sprintf("is not a duration; write one such as 10s, 500ms or 2m%s", or)
	} else if d < least || d > most {
		mend = fmt.Sprintf("is out of bounds; write a duration from %s to %s%s", DurationText(least), DurationText(most), or)
	}
	return d, mend
}

const daysMax = 36_500 // that are said in hours

func (c *checker) size(flag, value string, least, most int) int {
	return int(c.sizeOr(flag, value, "", int64(least), int64(most)))
}

func (c *checker) level(flag, value string) slog.Level {
	var level slog.Level
	if v := c.oneOf(flag, value, "debug", "info", "warn", "error"); c.err == nil {
		// Cannot fail: slog knows these four by the same names.
		_ = level.UnmarshalText([]byte(v))
	}
	return level
}

func (c *checker) oneOf(flag, value string, choices ...string) string {
	if _, mend := readWord(value, choices); mend != "" {
		c.wrong(flag, value, "%s", mend)
	}
	return value
}

// readWord is the place of a word among words, of which - is none: mend says which there are, if it is not among them.
func readWord(text string, words []string) (place int, mend string) {
	if place = slices.Index(words, text); place >= 0 && text != "-" {
		return place, ""
	}
	words = slices.DeleteFunc(slices.Clone(words), func(word string) bool { return word == "-" })
	last := len(words) - 1
	return 0, fmt.Sprintf("must be %s or %s", strings.Join(words[:last], ", "), words[last])
}

// count is a whole number, 0 where the word for none stands, if there is one.
func (c *checker) count(flag, value, none string, least, most int) int {
	n, mend := readCount(value, none, least, most)
	if mend != "" {
		c.wrong(flag, value, "%s", mend)
	}
	return n
}

// readCount is count for a text from anywhere: mend says what is wrong with it, and how to mend it.
func readCount(text, none string, least, most int) (n int, mend string) {
	or := ""
	if none != "" {
		if text == none {
			return 0, ""
		}
		or = ", or " + none
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		mend = fmt.Sprintf("must be a whole number from %d to %d%s", least, most, or)
	}
	return n, mend
}

// sizeOr is a size, 0 where the word for none stands, if there is one.
func (c *checker) sizeOr(flag, value, none string, least, most int64) int64 {
	n, mend := readSize(value, none, least, most)
	if mend != "" {
		c.wrong(flag, value, "%s", mend)
	}
	return n
}

// readSize is sizeOr for a text from anywhere: mend says what is wrong with it, and how to mend it.
func readSize(text, none string, least, most int64) (n int64, mend string) {
	or := ""
	if none != "" {
		if text == none {
			return 0, ""
		}
		or = ", or " + none
	}
	n, err := parseSize(text)
	if err != nil {
		mend = "is not a size; write bytes or a number with KiB, MiB or GiB, such as 64KiB" + or
	} else if n < least || n > most {
		mend = fmt.Sprintf("is out of bounds; write a size from %s to %s%s", SizeText(least), SizeText(most), or)
	}
	return n, mend
}

// durationOff is a duration, -1 for off.
func (c *checker) durationOff(flag, value string, least, most time.Duration) time.Duration {
	return c.durationOr(flag, value, "off", least, most)
}

// subprotocols is a list of subprotocols' names.
func (c *checker) subprotocols(flag, value string) (names []string) {
	for _, name := range strings.Split(value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	if err := loop.CheckSubprotocols(names); err != nil {
		c.wrong(flag, value, "is wrong: %v", err)
		return nil
	}
	return names
}

// proxies is a list of addresses and networks, and the word unix for peers on unix sockets.
func (c *checker) proxies(flag, value string) (proxies []netip.Prefix) {
	var rest []string
	for _, n := range strings.Split(value, ",") {
		if strings.TrimSpace(n) == "unix" {
			proxies = append(proxies, loop.UnixPeers)
		} else {
			rest = append(rest, n)
		}
	}
	return append(proxies, c.networks(flag, strings.Join(rest, ","))...)
}

// networks is a list of addresses and networks.
func (c *checker) networks(flag, value string) (networks []netip.Prefix) {
	for _, n := range strings.Split(value, ",") {
		if n = strings.TrimSpace(n); n == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(n)
		if addr, alone := netip.ParseAddr(n); alone == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			c.wrong(flag, value, "contains %q, which is neither an address nor a network; use for example 127.0.0.1 or 10.0.0.0/8", n)
			return nil
		}
		networks = append(networks, unmapped(prefix))
	}
	return networks
}

// unmapped turns a network of IPv4-mapped IPv6 addresses into one of IPv4 addresses: clients' addresses are looked up as
// IPv4, and to netip neither contains the other, so the mapped network would match no client.
func unmapped(network netip.Prefix) netip.Prefix {
	if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
	}
	return network.Masked()
}
