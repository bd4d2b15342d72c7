package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ringcast/api"
	"ringcast/bus"
	"ringcast/certs"
	"ringcast/cli/settings"
	"ringcast/loop"
)

// statusVerb shows the running server's state.
type statusVerb struct {
	JSON  bool `name:"json" help:"Print JSON; with --watch one line each second."`
	Watch bool `name:"watch" help:"Repeat each second, with rates, until interrupted."`
}

// Help is the longer text of status --help.
func (*statusVerb) Help() string {
	return "members: memberships. homes: groups whose messages the loop orders. lanes: items queued for the loop. " +
		"errors: wrong commands, protocol errors and bad handshakes. refused: commands refused, for reasons see the line " +
		"'refused'. slow: clients closed for being too slow. The lines 'refused', 'away' (refused connections), " +
		"'closes' (close codes) and 'unlogged' (log lines that were dropped) show what has happened since the start."
}

// askTimeout bounds one question to the server.
const askTimeout = 10 * time.Second

// Run is called by kong.
func (v *statusVerb) Run(r *env, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	if v.Watch {
		return r.watch(dir, v.JSON)
	}
	if v.JSON {
		return r.copyStatus(dir)
	}
	s, err := readStatus(context.Background(), dir)
	if err != nil {
		return err
	}
	text := statusText(s)
	for _, d := range dir.drainers() {
		text += fmt.Sprintf("There is also %s.\n", d)
	}
	_, err = io.WriteString(r.stdout, text)
	return err
}

// Status is the answer to GET /status on the control socket and to status --json.
type Status struct {
	Version            string  `json:"version"`
	Go                 string  `json:"go"`
	Kernel             string  `json:"kernel"`
	PID                int     `json:"pid"`
	Listen             string  `json:"listen"`               // host:port, the port as taken, or unix:/path; with commas between several
	TLSListen          string  `json:"tls_listen,omitempty"` // likewise, where TLS is spoken; absent: nowhere
	Redirect           string  `json:"redirect,omitempty"`   // likewise, where plain HTTP is sent to https; absent: off
	Admin              string  `json:"admin,omitempty"`      // likewise; absent: off
	UptimeSeconds      float64 `json:"uptime_seconds"`
	StopTimeoutSeconds float64 `json:"stop_timeout_seconds"` // how long a stop waits for slow clients
	machine
	loop.Snapshot
	Total      loop.LoopStats    `json:"total"`    // the sum of the loops
	Settings   map[string]string `json:"settings"` // what a reload can change, in force, by flag name and as it was written
	Kinds      kindsInForce      `json:"kinds"`    // of groups
	HTTP       api.PublicStats   `json:"http"`     // plain HTTP on the port for WebSockets
	Reloads    Reloads           `json:"reloads"`
	LogDropped map[string]uint64 `json:"log_dropped"`       // log lines that were dropped, by reason
	Channel    *bus.Stats        `json:"channel,omitempty"` // the link to Workerman processes; absent where there is none
	Keys       KeyStatus         `json:"keys"`              // of backends, and for tokens

	Certificates []certs.Certificate `json:"certificates,omitempty"` // absent: there is no TLS

	Cluster *api.ClusterStatus `json:"cluster,omitempty"` // that the server is a node of; absent where it is none
}

// identity is the part of a status that does not change while a server runs.
type identity struct {
	version, kernel, listen, tlsListen, admin, redirect string
}

func (me *identity) status(state loop.Snapshot, now settings.Settings) Status {
	return Status{
		Version: me.version, Go: runtime.Version(), Kernel: me.kernel, PID: os.Getpid(), Listen: me.listen, TLSListen: me.tlsListen, Redirect: me.redirect, Admin: me.admin,
		UptimeSeconds:      time.Since(state.Started).Seconds(),
		StopTimeoutSeconds: now.StopTimeout.Seconds(),
		machine:            readMachine(),
		Snapshot:           state,
		Total:              state.Total(),
		Settings:           now.Changeable(),
	}
}

func readStatus(ctx context.Context, dir runDir) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := ask(ctx, dir, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	s := &Status{}
	if err := json.NewDecoder(body).Decode(s); err != nil {
		return nil, fmt.Errorf("cannot read the server's answer: %w", err)
	}
	return s, nil
}

// copyStatus prints the answer of the control socket unchanged.
func (r *env) copyStatus(dir runDir) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	body, err := ask(ctx, dir, http.MethodGet, "/status")
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(r.stdout, body)
	return err
}

// statusText is the whole text: the part about the process, a row per loop, the sum.
func statusText(s *Status) string {
	t := loopsTable(s)
	return globalText(s) + tablePart("LOOPS", t) + s.Kinds.text() + channelText(s.Channel) + clusterText(s.Cluster, s.at())
}

// at is when it was made, by the server's clock.
func (s *Status) at() time.Time {
	return s.Started.Add(time.Duration(s.UptimeSeconds * float64(time.Second)))
}

// globalText is the part about the process.
func globalText(s *Status) string {
	state := ""
	if s.Stopping {
		state = "    [stopping]"
	}
	n := s.Total
	var b strings.Builder
	b.WriteString(titled("RINGCAST", bannerWidth))
	fmt.Fprintf(&b, "version  %s    %s    %s    pid %d\n", s.Version, s.Go, s.Kernel, s.PID)
	fmt.Fprintf(&b, "started  %s    up %s%s\n", s.Started.Format("2006-01-02 15:04:05 -0700"),
		uptimeText(time.Duration(s.UptimeSeconds*float64(time.Second))), state)
	admin := "off"
	if s.Admin != "" {
		admin = httpURL(s.Admin)
	}
	redirect := ""
	if s.Redirect != "" {
		redirect = "    redirect " + httpURL(s.Redirect)
	}
	fmt.Fprintf(&b, "listen   %s%s    admin %s    loops %d\n", listenURLs(s), redirect, admin, len(s.Loops))
	fmt.Fprintf(&b, "load     %.2f %.2f %.2f    CPUs %d    goroutines %s\n", s.LoadAverage[0], s.LoadAverage[1], s.LoadAverage[2],
		s.CPUs, countText(s.Goroutines))
	fmt.Fprintf(&b, "memory   %s resident    %s heap    GC cycles %s\n", settings.SizeText(int64(s.RSSBytes)), settings.SizeText(int64(s.HeapBytes)),
		countText(s.GCCycles))
	if s.MemoryLimit > 0 {
		fmt.Fprintf(&b, "limit    %s of %s used    pressure %s\n", settings.SizeText(s.MemoryUsed), settings.SizeText(s.MemoryLimit), s.MemoryPressure)
	}
	if s.Histories > 0 {
		fmt.Fprintf(&b, "history  %s of %s groups    %s messages\n", settings.SizeText(s.HistoryBytes), countText(s.Histories), countText(s.HistoryMessages))
	}
	fmt.Fprintf(&b, "clients  %s of %s    in handshake %s    descriptors %s of %s\n", countText(n.Clients), countText(s.ClientsMax),
		countText(n.Pending), countText(s.DescriptorsOpen), countText(s.DescriptorsMax))
	fmt.Fprintf(&b, "traffic  %s received    %s sent    messages ignored %s\n", settings.SizeText(int64(n.BytesIn)), settings.SizeText(int64(n.BytesOut)),
		countText(n.Ignored))
	fmt.Fprintf(&b, "lost     %s closed slow    %s closed by heartbeat    %s turned away    %s accept errors\n", countText(n.SlowClosed),
		countText(n.HeartbeatClosed), countText(n.RefusedClients), countText(s.AcceptErrors))
	if n.Slow+n.OutboxBytes+n.FragmentBytes > 0 || n.SlowHealed+n.SlowDropped+n.FragmentsClosed+n.MessageTimeouts > 0 {
		fmt.Fprintf(&b, "slow     %s clients, %s waiting    %s healed, %s messages missed    partial %s    %s closed for memory, %s for time\n",
			countText(n.Slow), settings.SizeText(n.OutboxBytes), countText(n.SlowHealed), countText(n.SlowDropped), settings.SizeText(n.FragmentBytes),
			countText(n.FragmentsClosed), countText(n.MessageTimeouts))
	}
	b.WriteString(certificatesText(s.Certificates))
	b.WriteString(s.Keys.text())
	b.WriteString(kindsText("refused", n.RefusedBy))
	b.WriteString(kindsText("away", n.RefusedClientsBy))
	b.WriteString(kindsText("closes", n.Closes))
	b.WriteString(kindsText("unlogged", s.LogDropped))
	return b.String()
}

// listenURLs is the addresses of a Status as clients write them.
func listenURLs(s *Status) string {
	var all []string
	for _, of := range []struct{ addresses, scheme string }{{s.Listen, "ws://"}, {s.TLSListen, "wss://"}} {
		for address := range strings.SplitSeq(of.addresses, ",") {
			switch {
			case address == "":
			case strings.HasPrefix(address, "unix:"):
				all = append(all, address)
			default:
				all = append(all, of.scheme+address)
			}
		}
	}
	return strings.Join(all, "  ")
}

// kindsText is a line of the kinds that have occurred, empty if none has.
func kindsText(label string, by map[string]uint64) string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		if n := by[kind]; n > 0 {
			kinds = append(kinds, kind+" "+countText(n))
		}
	}
	if len(kinds) == 0 {
		return ""
	}
	return fmt.Sprintf("%-9s%s\n", label, strings.Join(kinds, "    "))
}

// tablePart is a table under a title of its own width.
func tablePart(title string, t *table) string {
	text := t.text()
	width := 0
	for line := range strings.Lines(text) {
		width = max(width, utf8.RuneCountInString(line)-1)
	}
	return titled(title, width) + text
}

// loopsTable has a row per loop and their sum.
func loopsTable(s *Status) *table {
	t := &table{columns: []column{{"loop", false}}}
	for _, title := range []string{"clients", "groups", "members", "homes", "messages in", "published", "deliveries",
		"lanes", "refused", "slow", "errors", "panics"} {
		t.columns = append(t.columns, column{title, true})
	}
	for i, row := range s.Loops {
		t.rows = append(t.rows, loopRow(fmt.Sprint(i), row))
	}
	t.sum = loopRow("all", s.Total)
	return t
}

func loopRow(name string, n loop.LoopStats) []string {
	return []string{name, countText(n.Clients), countText(n.Groups), countText(n.Members), countText(n.Homes),
		countText(n.MessagesIn), countText(n.Published), countText(n.Deliveries), countText(n.LaneDepth), countText(n.Refused),
		countText(n.SlowClosed), countText(n.CommandErrors + n.ProtocolErrors + n.BadHandshakes), countText(n.Panics)}
}
