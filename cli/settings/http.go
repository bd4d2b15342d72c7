package settings

import "time"

// httpFlags are the flags of start for plain HTTP on the port for WebSockets. All can be changed while the server runs.
type httpFlags struct {
	HTTPConnectionsMax string `name:"http-connections-max" default:"512" env:"RINGCAST_HTTP_CONNECTIONS_MAX" help:"Connections of plain HTTP on the port for WebSockets; beyond it the longest idle one that has shown no valid key is closed for a newcomer, which else gets 503. /healthz is answered all the same."`
	HTTPBodyMax        string `name:"http-body-max" default:"8MiB" env:"RINGCAST_HTTP_BODY_MAX" help:"Largest body of an HTTP request; beyond it: 413."`
	HTTPHeaderTimeout  string `name:"http-header-timeout" default:"10s" env:"RINGCAST_HTTP_HEADER_TIMEOUT" help:"Time for the head of a further HTTP request on a connection to be complete; the first has --handshake-timeout."`
	HTTPBodyTimeout    string `name:"http-body-timeout" default:"60s" env:"RINGCAST_HTTP_BODY_TIMEOUT" help:"Time for the body of an HTTP request to be complete; the answer may take as long again."`
}

// HTTP is what they say.
type HTTP struct {
	ConnectionsMax int
	BodyBytesMax   int // bytes
	HeaderTimeout  time.Duration
	BodyTimeout    time.Duration
	HSTS           time.Duration // that browsers are told over TLS; 0: nothing
}

// Bounds on what an operator may set, for the reasons given in limits.go.
const (
	httpConnectionsTop             = 100_000 // each takes some 20 KB
	httpBodyMin, httpBodyTop       = 1 << 10, 1 << 30
	httpTimeoutMin, httpTimeoutTop = 100 * time.Millisecond, time.Hour
)

func (f *httpFlags) http(c *checker) HTTP {
	return HTTP{
		ConnectionsMax: c.count("http-connections-max", f.HTTPConnectionsMax, "", 1, httpConnectionsTop),
		BodyBytesMax:   c.size("http-body-max", f.HTTPBodyMax, httpBodyMin, httpBodyTop),
		HeaderTimeout:  c.duration("http-header-timeout", f.HTTPHeaderTimeout, httpTimeoutMin, httpTimeoutTop),
		BodyTimeout:    c.duration("http-body-timeout", f.HTTPBodyTimeout, httpTimeoutMin, httpTimeoutTop),
	}
}
