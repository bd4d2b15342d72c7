package cli

import (
	"fmt"
	"net"
	"strings"

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
	for i, a := range b.listen {
		row := []string{"ringcast", wsURL(a), fmt.Sprint(b.loops), "[OK]"}
		if i > 0 {
			row[0], row[2] = "", ""
		}
		listeners.rows = append(listeners.rows, row)
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
	if url := pageURL(b.listen); url != "" {
		fmt.Fprintf(&out, "Demo page: %s\n", url)
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

// wsURL is an address as a client writes it, if it can be written so.
func wsURL(listen net.Addr) string {
	if _, tcp := listen.(*net.TCPAddr); tcp {
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
