package cli

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"ringcast/certs"
	"ringcast/loop"
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
	tls        []net.Addr          // where TLS is spoken
	names      []certs.Certificate // of those addresses
	redirect   string              // where plain HTTP is sent to https; empty: off
	admin      string              // empty: off
	loops      int
	clientsMax int
	channel    string // of the Channel link, empty: none
	cluster    clusterBanner
	apps       string // ids of apps of the Pusher protocol, empty: there are none
	warnings   []string
	note       string // the last line: how to go on from here
}

// clusterBanner is what it says of the cluster that the server is a node of; its zero value: of none.
type clusterBanner struct {
	name, node string
	place      string // where other nodes or the NATS servers are met, or where the store is
	size       string // how many nodes there are
	waits      string // why clients are not let in yet; empty: they are
}

func (b *banner) text() string {
	listeners := table{
		columns: []column{{"name", false}, {"listen", false}, {"loops", true}, {"state", false}},
		least:   bannerWidth,
	}
	open := "[OK]"
	if b.cluster.waits != "" {
		open = "[WAITS]"
	}
	for i, a := range slices.Concat(b.listen, b.tls) {
		row := []string{"ringcast", wsURL(a, i >= len(b.listen)), fmt.Sprint(b.loops), open}
		if i > 0 {
			row[0], row[2] = "", ""
		}
		listeners.rows = append(listeners.rows, row)
	}
	if b.redirect != "" {
		listeners.rows = append(listeners.rows, []string{"redirect", httpURL(b.redirect), "", "[OK]"})
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
	if b.cluster.name != "" {
		listeners.rows = append(listeners.rows, []string{"cluster", b.cluster.place, "", open})
	}
	var out strings.Builder
	out.WriteString(titled("RINGCAST", bannerWidth))
	fmt.Fprintf(&out, "version %s    %s    %s    pid %d\n", b.version, b.golang, b.kernel, b.pid)
	out.WriteString(titled("LISTENERS", bannerWidth))
	out.WriteString(listeners.text())
	out.WriteString(strings.Repeat("-", bannerWidth) + "\n")
	if b.cluster.name != "" {
		fmt.Fprintf(&out, "Cluster %s, node %s, %s.\n", b.cluster.name, b.cluster.node, b.cluster.size)
	}
	if b.apps != "" {
		fmt.Fprintf(&out, "Pusher apps: %s.\n", b.apps)
	}
	if url := cmp.Or(pageURL(b.listen), securePageURL(b.tls, b.names)); url != "" {
		fmt.Fprintf(&out, "Demo page: %s\n", url)
	}
	fmt.Fprintf(&out, "Room for %s clients", countText(b.clientsMax))
	if b.clientsMax < clientsHint {
		out.WriteString("; for more, raise `ulimit -n` before the start")
	}
	out.WriteString(".\n")
	if b.cluster.waits != "" {
		fmt.Fprintf(&out, "Clients are let in later: %s.\n", b.cluster.waits)
	}
	for _, warning := range b.warnings {
		out.WriteString("WARNING: " + warning + "\n")
	}
	out.WriteString(b.note + "\n")
	return out.String()
}

// wsURL is an address as a client writes it, if it can be written so.
func wsURL(listen net.Addr, tls bool) string {
	if _, tcp := listen.(*net.TCPAddr); tcp {
		if tls {
			return "wss://" + listen.String()
		}
		return "ws://" + listen.String()
	}
	return loop.AddrText(listen)
}

// httpURL is the admin address as a browser wants it; one that was handed in may be a unix socket, which no browser opens.
func httpURL(admin string) string {
	if strings.HasPrefix(admin, "unix:") {
		return admin
	}
	return "http://" + admin
}

// securePageURL is where a browser finds the demo page by TLS: under a name that a certificate is good for, or else it would be warned.
func securePageURL(tls []net.Addr, names []certs.Certificate) string {
	port := portOf(tls)
	for _, c := range names {
		for _, name := range c.Names {
			if strings.HasPrefix(name, "*") || port == "" {
				continue
			}
			if port != "443" {
				name = net.JoinHostPort(name, port)
			}
			return "https://" + name + "/"
		}
	}
	return ""
}

// pageURL is where a browser on this machine finds the demo page, empty if nowhere. A listener on all addresses is reached over
// loopback.
func pageURL(listen []net.Addr) string {
	for _, a := range listen {
		tcp, ok := a.(*net.TCPAddr)
		if !ok {
			continue
		}
		host, port, _ := net.SplitHostPort(tcp.String())
		if tcp.IP.IsUnspecified() {
			host = "127.0.0.1"
			if tcp.IP.To4() == nil {
				host = "::1"
			}
		}
		return "http://" + net.JoinHostPort(host, port) + "/"
	}
	return ""
}
