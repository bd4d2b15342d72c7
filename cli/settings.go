package cli

import (
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"ringcast/loop"
)

// startFlags are the flags of start and restart. All but -d are text until settings has looked at them, so that every
// wrong value is answered in one voice.
type startFlags struct {
	Daemon bool `name:"daemon" short:"d" env:"RINGCAST_DAEMON" help:"Run in the background: return as soon as the server listens, log to a file."`

	Listen           string `name:"listen" default:"0.0.0.0:1234" env:"RINGCAST_LISTEN" help:"Address and port for WebSockets; port 0 takes a free one."`
	Loops            string `name:"loops" default:"8" env:"RINGCAST_LOOPS" help:"Event loops, 1 to 64; auto takes one per usable CPU."`
	Heartbeat        string `name:"heartbeat" default:"60s" env:"RINGCAST_HEARTBEAT" help:"Ping a client that was silent for this long, close it after twice of it; off to keep silent clients for ever."`
	MessageMax       string `name:"message-max" default:"1MiB" env:"RINGCAST_MESSAGE_MAX" help:"Largest message a client may send; a larger one closes it with 1009."`
	OutboxMax        string `name:"outbox-max" default:"1MiB" env:"RINGCAST_OUTBOX_MAX" help:"Most bytes that may wait for one slow client; beyond it the client is closed with 4008."`
	HandshakeTimeout string `name:"handshake-timeout" default:"10s" env:"RINGCAST_HANDSHAKE_TIMEOUT" help:"How long a connection may take to become a WebSocket."`
	StopTimeout      string `name:"stop-timeout" default:"10s" env:"RINGCAST_STOP_TIMEOUT" help:"How long a stop waits for clients to take what is queued for them."`

	LogLevel  string `name:"log-level" default:"info" env:"RINGCAST_LOG_LEVEL" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat string `name:"log-format" default:"text" env:"RINGCAST_LOG_FORMAT" help:"text or json."`
	LogFile   string `name:"log-file" placeholder:"FILE" env:"RINGCAST_LOG_FILE" help:"Append the log to this file. Default: standard error; ringcast.log in the run dir with -d."`
}

// settings are the checked flags: what start works with.
type settings struct {
	daemon bool
	runDir runDir

	listen           string
	loops            int
	heartbeat        time.Duration // negative: off
	messageBytesMax  int
	outboxBytesMax   int
	handshakeTimeout time.Duration
	stopTimeout      time.Duration

	logLevel  slog.Level
	logFormat string
	logFile   string // empty: standard error
}

// Bounds on what an operator may ask for. The lower ones keep a slip of the unit (60 for 60s, 1 for 1MiB) from making a
// server that closes everybody; the upper ones keep one client from taking the memory of all others.
const (
	messageBytesMin, messageBytesTop = 1 << 10, 64 << 20
	outboxBytesMin, outboxBytesTop   = 1 << 10, 1 << 30
	heartbeatMin, heartbeatTop       = time.Second, 24 * time.Hour
	handshakeMin, handshakeTop       = 100 * time.Millisecond, 10 * time.Minute
	stopMin, stopTop                 = time.Duration(0), time.Hour
)

// settings checks every flag and gives what start works with; the first wrong one is the error.
func (f *startFlags) settings(ctx *kong.Context, g *globals) (settings, error) {
	dir, err := g.runDir(ctx)
	if err != nil {
		return settings{}, err
	}
	c := &checker{ctx: ctx}
	s := settings{
		daemon:           f.Daemon,
		runDir:           dir,
		listen:           c.listen("listen", f.Listen),
		loops:            c.loops("loops", f.Loops),
		heartbeat:        c.heartbeat("heartbeat", f.Heartbeat),
		messageBytesMax:  c.size("message-max", f.MessageMax, messageBytesMin, messageBytesTop),
		outboxBytesMax:   c.size("outbox-max", f.OutboxMax, outboxBytesMin, outboxBytesTop),
		handshakeTimeout: c.duration("handshake-timeout", f.HandshakeTimeout, handshakeMin, handshakeTop),
		stopTimeout:      c.duration("stop-timeout", f.StopTimeout, stopMin, stopTop),
		logLevel:         c.level("log-level", f.LogLevel),
		logFormat:        c.oneOf("log-format", f.LogFormat, "text", "json"),
		logFile:          f.LogFile,
	}
	if s.logFile != "" {
		if abs, err := filepath.Abs(s.logFile); err == nil {
			s.logFile = abs // it is shown to people who are elsewhere
		}
	}
	if s.daemon && s.logFile == "" {
		s.logFile = filepath.Join(dir.path, "ringcast.log")
	}
	return s, c.err
}

// loopConfig is the part that the loops need to know.
func (s *settings) loopConfig(log *slog.Logger) loop.Config {
	return loop.Config{
		Listen:           s.listen,
		Loops:            s.loops,
		Page:             demoPage,
		Log:              log,
		MessageBytesMax:  s.messageBytesMax,
		OutboxBytesMax:   s.outboxBytesMax,
		HandshakeTimeout: s.handshakeTimeout,
		Heartbeat:        s.heartbeat,
	}
}

// checker turns texts into values and keeps the first complaint.
type checker struct {
	ctx *kong.Context
	err error
}

func (c *checker) wrong(flag, value, format string, args ...any) {
	if c.err == nil {
		c.err = usagef("--%s %q%s "+format, append([]any{flag, value, origin(c.ctx, flag)}, args...)...)
	}
}

func (c *checker) listen(flag, value string) string {
	const mend = "write HOST:PORT, such as 0.0.0.0:1234, 127.0.0.1:1234 or [::]:1234"
	host, port, err := net.SplitHostPort(value)
	switch {
	case strings.Contains(value, "://"):
		c.wrong(flag, value, "has a scheme; leave it off and %s", mend)
	case err != nil:
		c.wrong(flag, value, "is not an address with a port; %s", mend)
	case strings.ContainsAny(host, "/ \t"):
		c.wrong(flag, value, "has a host that cannot be one; %s", mend)
	default:
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
			c.wrong(flag, value, "has no port between 0 and 65535; %s", mend)
		}
	}
	return value
}

func (c *checker) loops(flag, value string) int {
	if value == "auto" {
		return min(runtime.GOMAXPROCS(0), loop.LoopsMax)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > loop.LoopsMax {
		c.wrong(flag, value, "is not a number of loops; write a whole number from 1 to %d, or auto for one per CPU", loop.LoopsMax)
	}
	return n
}

func (c *checker) heartbeat(flag, value string) time.Duration {
	if value == "off" {
		return -1
	}
	return c.durationOr(flag, value, heartbeatMin, heartbeatTop, ", or off")
}

func (c *checker) duration(flag, value string, least, most time.Duration) time.Duration {
	return c.durationOr(flag, value, least, most, "")
}

func (c *checker) durationOr(flag, value string, least, most time.Duration, or string) time.Duration {
	d, err := time.ParseDuration(value)
	if _, bare := strconv.Atoi(value); bare == nil && value != "0" {
		c.wrong(flag, value, "has no unit; write %ss for seconds", value)
	} else if err != nil {
		c.wrong(flag, value, "is not a duration; write one such as 10s, 500ms or 2m%s", or)
	} else if d < least || d > most {
		c.wrong(flag, value, "is out of bounds; write a duration from %s to %s%s", durationText(least), durationText(most), or)
	}
	return d
}

func (c *checker) size(flag, value string, least, most int) int {
	n, err := parseSize(value)
	if err != nil {
		c.wrong(flag, value, "is not a size; write bytes or a number with KiB, MiB or GiB, such as 64KiB")
	} else if n < int64(least) || n > int64(most) {
		c.wrong(flag, value, "is out of bounds; write a size from %s to %s", sizeText(int64(least)), sizeText(int64(most)))
	}
	return int(n)
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
	for _, choice := range choices {
		if value == choice {
			return value
		}
	}
	last := len(choices) - 1
	c.wrong(flag, value, "is not known; write %s or %s", strings.Join(choices[:last], ", "), choices[last])
	return value
}
