package cli

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// bannerWidth fits the narrowest terminal in use.
const bannerWidth = 72

// clientsHint is the number of clients below which the banner says how to get room for more: the ports of one client
// machine.
const clientsHint = 65_536

// banner is what an operator sees once the server listens.
type banner struct {
	version    string
	golang     string
	kernel     string
	pid        int
	listen     []net.Addr
	admin      string // empty: off
	loops      int
	clientsMax int
	channel    string // of the Channel link, empty: none
	warnings   []string
	note       string // the last line: how to go on from here
}

func (b *banner) text() string {
	listeners := table{
		columns: []column{{"name", false}, {"listen", false}, {"loops", true}, {"state", false}},
		least:   bannerWidth,
	}
	for _, addr := range b.listen {
		listeners.rows = append(listeners.rows, []string{"ringcast", wsURL(addressText(addr)), fmt.Sprint(b.loops), "[OK]"})
	}
	if b.admin != "" {
		listeners.rows = append(listeners.rows, []string{"admin", httpURL(b.admin), "", "[OK]"})
	}
	if b.channel != "" {
		state := "[OK]"
		if strings.HasPrefix(b.channel, clientOf) {
			state = "" // the log says when it is connected
		}
		listeners.rows = append(listeners.rows, []string{"channel", b.channel, "", state})
	}
	var out strings.Builder
	out.WriteString(titled("RINGCAST", bannerWidth))
	fmt.Fprintf(&out, "version %s    %s    %s    pid %d\n", b.version, b.golang, b.kernel, b.pid)
	out.WriteString(titled("LISTENERS", bannerWidth))
	out.WriteString(listeners.text())
	out.WriteString(strings.Repeat("-", bannerWidth) + "\n")
	if at := slices.IndexFunc(b.listen, func(a net.Addr) bool { return a.Network() != "unix" }); at >= 0 {
		fmt.Fprintf(&out, "Demo page: %s\n", pageURL(b.listen[at]))
	}
	fmt.Fprintf(&out, "Room for %s clients", countText(b.clientsMax))
	if b.clientsMax < clientsHint {
		out.WriteString("; for more, raise `ulimit -n` before the start")
	}
	out.WriteString(".\n")
	for _, warning := range b.warnings {
		out.WriteString("WARNING: " + warning + "\n")
	}
	out.WriteString(b.note + "\n")
	return out.String()
}

// wsURL and httpURL are an address with its scheme; a unix socket has one already.
func wsURL(address string) string   { return withScheme("ws://", address) }
func httpURL(address string) string { return withScheme("http://", address) }

func withScheme(scheme, address string) string {
	if strings.HasPrefix(address, "unix:") {
		return address
	}
	return scheme + address
}

// pageURL is where a browser on this machine finds the demo page. A listener on all addresses is reached over loopback.
func pageURL(listen net.Addr) string {
	host, port, err := net.SplitHostPort(listen.String())
	if err != nil {
		return "http://" + listen.String() + "/"
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
}
