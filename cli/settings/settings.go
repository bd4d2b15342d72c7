package settings

import (
	"log/slog"
	"path/filepath"
	"time"

	"ringcast/bus"
	"ringcast/loop"
)

// Settings are the checked flags: what start works with.
type Settings struct {
	Daemon bool
	RunDir string // its path

	Loop        loop.Config // without an HTTP server and a log; its Limits are what a reload can change
	HTTP        HTTP
	TLS         TLS
	Admin       string   // host:port; empty: off
	AdminHosts  []string // names under which the admin page may be asked for, in lower case
	AdminPprof  bool
	JWKSURL     string     // where the JWKS of Loop.Tokens is to be fetched; empty: nowhere
	Channel     bus.Config // without a log; its zero value: none
	MemoryFrom  string     // what Loop.MemoryMax was taken from
	APIKeys     []string   // of the server API; none: there is none
	Cluster     Cluster    // that this server is a node of; its zero value: none
	StopTimeout time.Duration

	LogLevel  slog.Level
	LogFormat string // text or json
	LogFile   string // its path; empty: standard error

	TokenSecrets    int // how many secrets for tokens there are; they are in Loop.Tokens alone
	TokenPublicKeys int // how many public keys for them, those of a JWKS left out
	shortSecrets    int // how many secrets are too short
	shortApps       int // how many secrets of apps are

	typed texts
}

// texts are what settings were made of, as they were written.
type texts struct {
	Flags
	fileTexts
	contents map[string]string // fingerprints of files and of secrets, by the name of the flag that names them
}

const (
	stopMin, stopTop = time.Duration(0), time.Hour
	tcpMin, tcpTop   = time.Second, 24 * time.Hour
)

// logName is the log's name in the run dir of a server in the background for which none was named.
const logName = "ringcast.log"

// Settings checks every flag and gives what start works with; the first wrong one is the error, a UsageError. runDir is
// the path of the run dir, which only its owner can check.
func (f *Flags) Settings(g *Globals, runDir string) (Settings, error) {
	c := &checker{g: g}
	s := Settings{Daemon: f.Daemon, RunDir: runDir, AdminPprof: f.AdminPprof, LogFile: f.LogFile, typed: texts{*f, fileTexts{Groups: g.reading.groupsText()}, nil}}
	listenOff := isOff(f.Listen)
	if !listenOff {
		s.Loop.Listen = c.listens("listen", f.Listen)
	}
	s.Admin = c.listenOff("admin", f.Admin)
	s.AdminHosts = c.hosts("admin-hosts", f.AdminHosts)
	s.Loop.Loops = c.loops("loops", f.Loops)
	s.Loop.Centrifuge = c.oneOf("centrifuge", f.Centrifuge, "on", "off") == "on"
	s.Loop.Limits = f.limits(c)
	f.tokens(c, &s)
	f.apiKeys(c, &s)
	f.apps(c, &s)
	s.HTTP = f.http(c)
	s.MemoryFrom = g.reading.MemoryFrom
	if f.MemoryMax != "auto" {
		s.MemoryFrom = "--memory-limit"
	}
	s.Loop.TCPKeepAlive = c.durationOff("tcp-keepalive", f.TCPKeepAlive, tcpMin, tcpTop)
	s.Loop.TCPUserTimeout = c.durationOff("tcp-user-timeout", f.TCPUserTimeout, tcpMin, tcpTop)
	s.StopTimeout = c.duration("stop-timeout", f.StopTimeout, stopMin, stopTop)
	s.LogLevel = c.level("log-level", f.LogLevel)
	s.LogFormat = c.oneOf("log-format", f.LogFormat, "text", "json")
	s.Channel = f.channel(c)
	for _, listen := range s.Loop.Listen {
		c.portOfItsOwn("admin", s.Admin, "listen", listen)
		c.portOfItsOwn("channel", s.Channel.Listen, "listen", listen)
	}
	c.portOfItsOwn("channel", s.Channel.Listen, "admin", s.Admin)
	f.tlsFlags.tls(c, &s, listenOff)
	f.cluster(c, &s)
	switch {
	case s.LogFile != "":
		s.LogFile = g.abs(s.LogFile) // it is shown to people who are elsewhere
	case s.Daemon:
		s.LogFile = filepath.Join(runDir, logName)
	}
	return s, c.err
}

// Warning is about settings that are valid but probably not intended.
type Warning struct {
	Text  string
	Attrs []any // as slog.Logger.Warn takes them
}

// Warnings are for the log, at a start and at each change.
func (s *Settings) Warnings() (all []Warning) {
	warn := func(text string, attrs ...any) { all = append(all, Warning{text, attrs}) }
	l := &s.Loop.Limits
	if l.OutboxBytesMax < l.MessageBytesMax {
		warn("--outbox-max is less than --message-max: a message longer than an outbox closes members that do not receive it at once",
			"outbox_max", SizeText(int64(l.OutboxBytesMax)), "message_max", SizeText(int64(l.MessageBytesMax)))
	}
	if l.MemoryMax > 0 && (l.OutboxesBytesMax > l.MemoryMax/2 || max(l.FragmentsBytesMax, l.HistoryBytesMax) > l.MemoryMax/4) {
		warn("--outboxes-max is capped at half of --memory-limit, --fragments-max and --history-max at a quarter",
			"outboxes_max", SizeText(l.OutboxesBytesMax), "fragments_max", SizeText(l.FragmentsBytesMax),
			"history_max", SizeText(l.HistoryBytesMax), "memory_limit", SizeText(l.MemoryMax))
	}
	if join, publish := s.OutOfReach(); join+publish != "" {
		warn("kinds of groups that no client can join or publish to: they are for clients with a token, and no tokens are configured", "join", join, "publish", publish)
	}
	for _, text := range s.TokenWarnings() {
		warn(text)
	}
	if text := s.APIWarning(); text != "" {
		warn(text)
	}
	for _, text := range s.AppWarnings() {
		warn(text)
	}
	for _, text := range s.ClusterWarnings() {
		warn(text)
	}
	if rate := l.BytesPerSecond; rate > 0 && rate < l.MessageBytesMax {
		warn("--byte-rate is less than --message-max: a message longer than the bytes of one second is always refused",
			"byte_rate", SizeText(int64(rate)), "message_max", SizeText(int64(l.MessageBytesMax)))
	}
	return all
}
