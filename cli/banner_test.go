package cli

import (
	"net"
	"runtime/debug"
	"testing"
)

func tcp(host string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(host), Port: 1234} }

func TestBannerIsAsInTheGoldenFiles(t *testing.T) {
	b := banner{version: "0.1.0 (0123456789ab)", golang: "go1.26.0", kernel: "Linux 6.1.0", pid: 4711, listen: []net.Addr{tcp("0.0.0.0")},
		loops: 8, clientsMax: 19_000, note: "Press Ctrl-C to quit. Start success."}
	golden(t, "banner-few.txt", b.text())
	b.admin = "127.0.0.1:1235"
	b.clientsMax, b.listen = 1_000_000, []net.Addr{tcp("2001:db8::1"), &net.UnixAddr{Net: "unix", Name: "/run/ringcast/http.sock"}}
	b.apps = "3, shop"
	golden(t, "banner-many.txt", b.text())
}

func TestDemoPageIsShownWhereABrowserHereFindsIt(t *testing.T) {
	for host, want := range map[string]string{
		"0.0.0.0":     "http://127.0.0.1:1234/",
		"::":          "http://[::1]:1234/",
		"192.0.2.7":   "http://192.0.2.7:1234/",
		"2001:db8::1": "http://[2001:db8::1]:1234/",
	} {
		if got := pageURL([]net.Addr{&net.UnixAddr{Net: "unix", Name: "/x"}, tcp(host)}); got != want {
			t.Errorf("pageURL on %s: got %s, want %s", host, got, want)
		}
	}
}

func TestVersionNamesTheRevision(t *testing.T) {
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef"}
	for want, settings := range map[string][]debug.BuildSetting{
		"":                          {{Key: "GOOS", Value: "linux"}, {Key: "vcs.modified", Value: "true"}},
		" (0123456789ab)":           {revision, {Key: "vcs.modified", Value: "false"}},
		" (0123456789ab, modified)": {{Key: "vcs.modified", Value: "true"}, revision},
	} {
		if got := revisionText(settings); got != want {
			t.Errorf("revisionText(%v): got %q, want %q", settings, got, want)
		}
	}
}
