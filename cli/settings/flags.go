package settings

import "reflect"

// Flags are the flags of start and restart. Nearly all are text until Settings has checked them, so that all wrong
// values are reported in the same form.
type Flags struct {
	Daemon bool `name:"daemon" short:"d" env:"RINGCAST_DAEMON" help:"Run in the background: return as soon as the server listens, log to a file."`

	Listen     []string `name:"listen" default:"0.0.0.0:1234" placeholder:"ADDR,…" env:"RINGCAST_LISTEN" help:"Addresses for WebSockets, up to 16; may be repeated. :1234 is port 1234 for IPv4 and IPv6, port 0 a free one, unix:///run/http.sock a unix socket for a proxy on this machine. off: none, beside --tls-listen."`
	Loops      string   `name:"loops" default:"8" env:"RINGCAST_LOOPS" help:"Event loops, 1 to 64; auto takes one per usable CPU."`
	Admin      string   `name:"admin" default:"127.0.0.1:1235" env:"RINGCAST_ADMIN" help:"Address for operators: a page, /metrics, /healthz, /readyz, /dashboard.json, /debug/pprof; port 0 takes a free one; or off."`
	AdminHosts string   `name:"admin-hosts" default:"" placeholder:"NAME,…" env:"RINGCAST_ADMIN_HOSTS" help:"Host names under which browsers reach the admin page, such as ringcast.internal; IP addresses and localhost are always good."`
	AdminPprof bool     `name:"admin-pprof" env:"RINGCAST_ADMIN_PPROF" help:"Serve /debug/pprof also when --admin is not a loopback address."`
	Centrifuge string   `name:"centrifuge" default:"on" env:"RINGCAST_CENTRIFUGE" help:"on or off. on: clients that request /connection/websocket speak the Centrifuge protocol."`
	tlsFlags
	limitFlags
	tokenFlags
	httpFlags
	channelFlags
	apiFlags
	appFlags
	clusterFlags

	TCPKeepAlive   string `name:"tcp-keepalive" default:"60s" env:"RINGCAST_TCP_KEEPALIVE" help:"Idle time after which the kernel probes whether the peer is still reachable, or off."`
	TCPUserTimeout string `name:"tcp-user-timeout" default:"150s" env:"RINGCAST_TCP_USER_TIMEOUT" help:"Time after which the kernel drops a connection whose peer acknowledges no data, or off."`
	StopTimeout    string `name:"stop-timeout" default:"10s" env:"RINGCAST_STOP_TIMEOUT" help:"How long a stop waits for clients to receive what is queued for them."`

	LogLevel  string `name:"log-level" default:"info" env:"RINGCAST_LOG_LEVEL" help:"Lowest level that is logged: debug, info, warn or error."`
	LogFormat string `name:"log-format" default:"text" env:"RINGCAST_LOG_FORMAT" help:"Format of the log: text or json."`
	LogFile   string `name:"log-file" placeholder:"FILE" env:"RINGCAST_LOG_FILE" help:"Append the log to this file. Default: standard error; ringcast.log in the run dir with -d."`
}

// eachFlag visits the flags of a struct in the order of their declaration.
func eachFlag(flags reflect.Value, visit func(tag reflect.StructTag, value any)) {
	for i := range flags.NumField() {
		field := flags.Type().Field(i)
		if field.Anonymous {
			eachFlag(flags.Field(i), visit)
		} else if field.Tag.Get("name") != "" {
			visit(field.Tag, flags.Field(i).Interface())
		}
	}
}

// tags are those of all settings. A setting that is not a flag has no environment variable.
func tags() (all []reflect.StructTag) {
	for _, flags := range []any{Globals{}, Flags{}, fileTexts{}} {
		eachFlag(reflect.ValueOf(flags), func(tag reflect.StructTag, _ any) { all = append(all, tag) })
	}
	return all
}
