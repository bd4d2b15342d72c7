package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"ringcast/bench/report"
)

// What lies between TCP and messages.

// upgrade says whether compression was agreed on.
func (s *groupServer) upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, bool, error) {
	deflate := wsflate.Extension{Parameters: wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}}
	up := ws.HTTPUpgrader{}
	if s.packs {
		up.Negotiate = deflate.Negotiate
	}
	conn, _, _, err := up.Upgrade(r, w)
	_, accepted := deflate.Accepted()
	return conn, accepted, err
}

// frame is a text as a member gets it. Compressing costs this server a millisecond, so it is done once for all members.
func (s *groupServer) frame(m *groupMember, text string) ws.Frame {
	if !s.packing[m.conn] {
		return ws.NewTextFrame([]byte(text))
	}
	if s.packedText != text {
		s.packedText, s.packed = text, must(wsflate.CompressFrame(ws.NewTextFrame([]byte(text))))
	}
	return s.packed
}

func must(f ws.Frame, err error) ws.Frame {
	if err != nil {
		panic(err)
	}
	return f
}

// serveTLS is serve with TLS.
func (s *groupServer) serveTLS(t *testing.T) string {
	t.Helper()
	s.init()
	server := httptest.NewUnstartedServer(s)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // some handshakes are broken off
	server.StartTLS()
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "https", "wss", 1) + "/"
}

func TestFanoutChurnAndSlowSpeakTLSAndCompression(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server *groupServer
		args   []string
	}{
		"TLS":                       {&groupServer{pings: true}, []string{"fanout", "--window", "4", "--bystanders", "2"}},
		"TLS 1.2":                   {&groupServer{}, []string{"fanout", "--window", "4", "--tls-version", "1.2", "--dialect", "centrifuge"}},
		"TLS, long messages":        {&groupServer{}, []string{"fanout", "--window", "8", "--size", "65536", "--payload", "json"}},
		"TLS, comers and goers":     {&groupServer{}, []string{"churn", "--rate", "200", "--tls-resume"}},
		"TLS, who does not read":    {&groupServer{outbox: 1000}, []string{"slow", "--slow", "2", "--size", "64"}},
		"TLS, two processes":        {&groupServer{}, []string{"fanout", "--rate", "100", "--processes", "2", "--dialect", "pusher"}},
		"compressed":                {&groupServer{packs: true, pings: true}, []string{"fanout", "--window", "4", "--size", "1000", "--dialect", "centrifuge"}},
		"compressed, in pairs":      {&groupServer{packs: true}, []string{"fanout", "--rate", "200", "--size", "400", "--groups", "5", "--publishers", "10", "--member-publishers"}},
		"both":                      {&groupServer{packs: true}, []string{"fanout", "--rate", "200", "--size", "1000", "--groups", "2", "--dialect", "pusher"}},
		"both, comers and goers":    {&groupServer{packs: true}, []string{"churn", "--rate", "100", "--lives", "50", "--size", "300", "--dialect", "centrifuge"}},
		"compressed, two processes": {&groupServer{packs: true}, []string{"fanout", "--window", "4", "--size", "1000", "--processes", "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secure := !strings.HasPrefix(name, "compressed")
			args := append(c.args, "--members", "10")
			if c.server.packs {
				args = append(args, "--compression")
			}
			var status int
			var out, errs string
			var r *report.Run
			again(t, 300*time.Millisecond, func(long time.Duration) bool {
				s, url := &groupServer{packs: c.server.packs, pings: c.server.pings, outbox: c.server.outbox}, ""
				if secure {
					url = s.serveTLS(t)
				} else {
					url = s.serve(t)
				}
				status, out, errs, r = bench(t, append(slices.Clone(args), "--url", url, patient, "--time", long.String())...)
				if len(r.Counts) > 0 || r.Churn == nil && !r.Fine {
					t.Fatalf("got status %d, faults %v\n%s%s", status, r.Counts, out, errs)
				}
				return r.Churn == nil || r.Churn.Heard > 0 // who comes and goes needs time for a handshake
			})
			if status != exitFine || !r.Fine {
				t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
			}
			switch {
			case secure && (r.TLS == nil || r.TLS.Handshakes < 10 || r.TLS.Verified || r.Flags["tls"] != true):
				t.Errorf("got %+v of TLS, want 10 handshakes of an unverified server, and a flag in %v", r.TLS, r.Flags)
			case !secure && r.TLS != nil:
				t.Errorf("got %+v of TLS without it", r.TLS)
			case strings.Contains(name, "1.2") && r.TLS.Version != "TLS 1.2":
				t.Errorf("got version %s, want the only one that was offered", r.TLS.Version)
			case strings.Contains(name, "resume") && r.TLS.Resumed != r.TLS.Handshakes-1:
				t.Errorf("of %d handshakes %d resumed a session, want all but the first", r.TLS.Handshakes, r.TLS.Resumed)
			}
			size, wire := r.Flags["size"].(float64), r.Fanout.WireBytes
			switch {
			case c.server.packs && size >= 1000 && (wire > size*0.7 || wire < size*0.2 || r.Flags["compression"] != true || r.Flags["payload"] != "json"):
				t.Errorf("%.0f bytes on the wire for a compressed text of %.0f, flags %v", wire, size, r.Flags)
			case !c.server.packs && r.Verb == "fanout" && wire < size:
				t.Errorf("%.0f bytes on the wire for a text of %.0f", wire, size)
			}
		})
	}
}

func TestWhatIsWrongBelowMessagesIsNamed(t *testing.T) {
	t.Parallel()
	at := func(m *groupMember) bool { return m.place == 3 && m.heard == 20 }
	for name, c := range map[string]struct {
		server *groupServer
		args   []string
		want   string
	}{
		"a byte is changed before it is compressed": {&groupServer{packs: true, spoil: func(m *groupMember, text string) []string {
			if at(m) {
				return []string{text[:len(text)-1] + "!"}
			}
			return []string{text}
		}}, []string{"--compression", "--size", "1000"}, "group 0 member 3 got publisher 0's #20 with another text"},
		"a message is compressed as garbage": {&groupServer{packs: true, spoil: func(m *groupMember, text string) []string {
			if at(m) {
				frame := ws.NewTextFrame(bytes.Repeat([]byte{0xFF}, 40))
				frame.Header.Rsv = ws.Rsv(true, false, false)
				ws.WriteFrame(m.conn, frame)
			}
			return []string{text}
		}}, []string{"--compression", "--size", "1000"}, "group 0 member 3 was cut off: a compressed message that cannot be inflated by itself"},
		"compression is not accepted":     {&groupServer{}, []string{"--compression"}, "permessage-deflate was offered and not accepted: ringcast does with --compression on"},
		"no TLS is spoken there":          {&groupServer{}, []string{"--tls"}, "TLS handshake: tls: first record does not look like a TLS handshake"},
		"a certificate is not looked for": {&groupServer{hangsUp: true}, []string{"--tls-insecure"}, "--tls-resume, --tls-version and --tls-insecure need --tls"},
		"TLS ends without its last record": {&groupServer{spoil: func(m *groupMember, text string) []string {
			if at(m) {
				m.conn.(*tls.Conn).NetConn().Close()
			}
			return []string{text}
		}}, nil, "group 0 member 3 was cut off: the server ended the connection without a close frame, and without TLS's close_notify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := ""
			if strings.HasPrefix(name, "TLS") {
				url = c.server.serveTLS(t)
			} else {
				url = c.server.serve(t)
			}
			args := append([]string{"fanout", "--url", url, "--members", "6", "--rate", "100", "--time", "300ms"}, c.args...)
			if status, out, errs, _ := benchAll(t, append(args, "--no-ceiling")...); status == exitFine || !strings.Contains(out+errs, c.want) {
				t.Errorf("got status %d, want a fault and %q in\n%s%s", status, c.want, out, errs)
			}
		})
	}
}

func TestConnectOpensWithAndWithoutResumedSessionsBesideGoroutines(t *testing.T) {
	t.Parallel()
	status, out, errs, runs := benchRuns(t, 4, "connect", "-n", "20", "--hold", "0s", "--url", (&groupServer{}).serveTLS(t))
	if status != exitFine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	for i, r := range runs {
		resumed, beside := uint64(i%2*19), i >= 2
		if !r.Fine || r.TLS.Version != "TLS 1.3" || r.TLS.Handshakes != 20 || r.TLS.Resumed != resumed || (r.Server == report.Goroutines) != beside {
			t.Errorf("run %d: got %+v of %s, want %d of 20 resumed", i, r.TLS, r.Server, resumed)
		}
	}
	for _, want := range []string{"TLS 1.3, 20 handshakes, 19 of them resumed a session; the certificate was not verified", ", TLS resumed"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestAYardstickStandsBesideTLSAndCompression(t *testing.T) {
	t.Parallel()
	unraced(t)
	for _, c := range []struct {
		server *groupServer
		args   []string
		beside string
	}{
		{&groupServer{}, nil, "goroutines"},
		{&groupServer{packs: true}, []string{"--compression", "--size", "500"}, "ceiling turn"},
		{&groupServer{packs: true}, []string{"--compression", "--size", "500", "--dialect", "centrifuge"}, "ceiling turn"},
	} {
		url := ""
		if c.server.packs {
			url = c.server.serve(t)
		} else {
			url = c.server.serveTLS(t)
		}
		args := append([]string{"fanout", "--url", url, "--members", "10", "--groups", "2", "--window", "4", "--time", "300ms", patient}, c.args...)
		status, out, errs, runs := benchRuns(t, 2, args...)
		if status != exitFine || !runs[1].Fine || runs[1].Server != c.beside || runs[1].Flags["compression"] != runs[0].Flags["compression"] {
			t.Fatalf("%v: got status %d, want %d and %s\n%s%s", c.args, status, exitFine, c.beside, out, errs)
		}
		if !strings.Contains(out, "against "+c.beside+": ") {
			t.Errorf("nothing is compared with %s in\n%s", c.beside, out)
		}
		if a, b := runs[0].Fanout.WireBytes, runs[1].Fanout.WireBytes; c.server.packs && (b > 400 || a > 400) {
			t.Errorf("%v: %.0f and %.0f bytes a delivery of a compressed text of 500", c.args, a, b)
		}
	}
}

func TestSizesShowsWhatCompressionSaves(t *testing.T) {
	t.Parallel()
	unraced(t)
	dir := t.TempDir()
	status, out, errs, runs := benchRuns(t, 4, "sizes", "--url", (&groupServer{packs: true}).serve(t), "--members", "10", "--sizes", "2000,400", "--time", "300ms", "--pictures", dir)
	if status != exitFine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	for i, want := range []string{"400 bytes compressed", "400 bytes uncompressed", "2,000 bytes compressed", "2,000 bytes uncompressed"} {
		r := runs[i]
		if got := r.Load + " " + r.Server; got != want || (r.Flags["compression"] == true) != (r.Server == report.Compressed) || r.Flags["payload"] != "json" {
			t.Errorf("run %d is %s with %v, want %s", i, got, r.Flags, want)
		}
	}
	if picture, err := os.ReadFile(filepath.Join(dir, "compression.svg")); err != nil || !bytes.Contains(picture, []byte(">2,000<")) {
		t.Errorf("got %v and a picture without the sizes", err)
	}
	if !strings.Contains(out, "What compression saves") {
		t.Errorf("no table in\n%s", out)
	}
	if status, _, errs, _ := benchAll(t, "sizes", "--sizes", "10"); status != exitUnable || !strings.Contains(errs, "--size must be") {
		t.Errorf("got status %d and %q of a text without a stamp", status, errs)
	}
}
