package cli

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"ringcast/bus"
	"ringcast/loop"
)

// startFlags are the flags of start and restart. All but -d are text until settings has looked at them, so that every
// wrong value is answered in one voice.
type startFlags struct {
	Daemon bool `name:"daemon" short:"d" env:"RINGCAST_DAEMON" help:"Run in the background: return as soon as the server listens, log to a file."`

	Listen     string `name:"listen" default:"0.0.0.0:1234" env:"RINGCAST_LISTEN" help:"Address and port for WebSockets; port 0 takes a free one."`
	Loops      string `name:"loops" default:"8" env:"RINGCAST_LOOPS" help:"Event loops, 1 to 64; auto takes one per usable CPU."`
	Admin      string `name:"admin" default:"127.0.0.1:1235" env:"RINGCAST_ADMIN" help:"Address for operators: /metrics, /healthz, /readyz, /dashboard.json, /debug/pprof; port 0 takes a free one; or off."`
	AdminPprof bool   `name:"admin-pprof" env:"RINGCAST_ADMIN_PPROF" help:"Serve /debug/pprof also when --admin is not a loopback address."`
	limitFlags
	channelFlags

	TCPKeepAlive   string `name:"tcp-keepalive" default:"60s" env:"RINGCAST_TCP_KEEPALIVE" help:"Idle time after which the kernel probes whether a client's machine is still there, or off."`
	TCPUserTimeout string `name:"tcp-user-timeout" default:"150s" env:"RINGCAST_TCP_USER_TIMEOUT" help:"How long the kernel waits for a client to take bytes before it gives the connection up, or off."`
	StopTimeout    string `name:"stop-timeout" default:"10s" env:"RINGCAST_STOP_TIMEOUT" help:"How long a stop waits for clients to take what is queued for them."`

	LogLevel  string `name:"log-level" default:"info" env:"RINGCAST_LOG_LEVEL" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string `name:"log-format" default:"text" env:"RINGCAST_LOG_FORMAT" help:"text or json."`
	LogFile   string `name:"log-file" placeholder:"FILE" env:"RINGCAST_LOG_FILE" help:"Append the log to this file. Default: standard error; ringcast.log in the run dir with -d."`
}

// settings are the checked flags: what start works with.
type settings struct {
	daemon bool
	runDir runDir

	listen         string
	admin          string // empty: off
	adminPprof     bool
	loops          int
	limits         loop.Limits // what a reload can change
	channel        bus.Config  // its zero value: none
	tcpKeepAlive   time.Duration
	tcpUserTimeout time.Duration
	stopTimeout    time.Duration

	logLevel  slog.Level
	logFormat string
	logFile   string // empty: standard error

	typed startFlags // the texts that all of it was made of
}

const (
	stopMin, stopTop = time.Duration(0), time.Hour
	tcpMin, tcpTop   = time.Second, 24 * time.Hour
)

// settings checks every flag and gives what start works with; the first wrong one is the error.
func (f *startFlags) settings(ctx *kong.Context, g *globals) (settings, error) {
	dir, err := g.runDir(ctx)
	if err != nil {
		return settings{}, err
	}
	c := &checker{ctx: ctx}
	s := settings{
		daemon:         f.Daemon,
		runDir:         dir,
		listen:         c.listen("listen", f.Listen),
		admin:          c.listenOff("admin", f.Admin),
		adminPprof:     f.AdminPprof,
		loops:          c.loops("loops", f.Loops),
		limits:         f.limits(c),
		tcpKeepAlive:   c.durationOff("tcp-keepalive", f.TCPKeepAlive, tcpMin, tcpTop),
		tcpUserTimeout: c.durationOff("tcp-user-timeout", f.TCPUserTimeout, tcpMin, tcpTop),
		stopTimeout:    c.duration("stop-timeout", f.StopTimeout, stopMin, stopTop),
		logLevel:       c.level("log-level", f.LogLevel),
		logFormat:      c.oneOf("log-format", f.LogFormat, "text", "json"),
		logFile:        f.LogFile,
		typed:          *f,
	}
	s.channel = f.channel(c)
	c.portOfItsOwn("admin", s.admin, s.listen)
	if s.logFile != "" {
		s.logFile = g.abs(s.logFile) // it is shown to people who are elsewhere
	}
	if s.daemon && s.logFile == "" {
		s.logFile = filepath.Join(dir.path, "ringcast.log")
	}
	return s, c.err
}

// warn says what is no mistake but hardly meant.
func (s *settings) warn(log *slog.Logger) {
	if s.limits.OutboxBytesMax < s.limits.MessageBytesMax {
		log.Warn("--outbox-max is less than --message-max: a message longer than an outbox closes the members that do not take it at once",
			"outbox_max", sizeText(int64(s.limits.OutboxBytesMax)), "message_max", sizeText(int64(s.limits.MessageBytesMax)))
	}
	if l := s.limits; l.MemoryMax > 0 && (l.OutboxesBytesMax > l.MemoryMax/2 || l.FragmentsBytesMax > l.MemoryMax/4) {
		log.Warn("--outboxes-max counts for half of --memory-limit at most, --fragments-max for a quarter",
			"outboxes_max", sizeText(l.OutboxesBytesMax), "fragments_max", sizeText(l.FragmentsBytesMax), "memory_limit", sizeText(l.MemoryMax))
	}
	if rate := s.limits.BytesPerSecond; rate > 0 && rate < s.limits.MessageBytesMax {
		log.Warn("--byte-rate is less than --message-max: a message longer than a second's worth is refused however often it is repeated",
			"byte_rate", sizeText(int64(rate)), "message_max", sizeText(int64(s.limits.MessageBytesMax)))
	}
}

// loopConfig is the part that the loops need to know.
func (s *settings) loopConfig(log *slog.Logger) loop.Config {
	return loop.Config{
		Listen:         s.listen,
		Loops:          s.loops,
		Page:           demoPage,
		Log:            log,
		TCPKeepAlive:   s.tcpKeepAlive,
		TCPUserTimeout: s.tcpUserTimeout,
		Limits:         s.limits,
	}
}
