package test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// What the documents say of TLS, tried.

// TestTheCommandsOfTheTLSSectionWork starts a server by each command of the section, but for the ports, the files, and who makes certificates.
func TestTheCommandsOfTheTLSSectionWork(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(document(t, "docs/operating.md"), "\n## TLS\n")
	section, _, _ = strings.Cut(section, "\n## ")
	commands := regexp.MustCompile(`(?m)^    ringcast start (.*--tls-listen.*)$`).FindAllStringSubmatch(section, -1)
	header := regexp.MustCompile("`(--hsts \\w+)` adds `Strict-Transport-Security: ([^`]+)`").FindStringSubmatch(section)
	if len(commands) < 2 || header == nil {
		t.Fatalf("docs/operating.md, TLS: got the commands %q and the header %q, want one with files, one with ACME, and what --hsts adds", commands, header)
	}
	cert, key := localCertificate(t)
	domain := ""
	for _, command := range commands {
		args := strings.Fields(command[1])
		for i, word := range args {
			switch {
			case strings.HasPrefix(word, ":"):
				args[i] = "127.0.0.1:0"
			case i > 0 && args[i-1] == "--tls-cert":
				args[i] = cert
			case i > 0 && args[i-1] == "--tls-key":
				args[i] = key
			case i > 0 && args[i-1] == "--acme-dir":
				args[i] = runDir(t)
			case i > 0 && args[i-1] == "--acme-domain":
				domain = word
				args = append(args, "--acme-directory", "https://"+freeAddr(t)+"/directory") // where nobody is: nothing is asked of others
			}
		}
		s := start(t, append(args, strings.Fields(header[1])...)...)
		if s.wss == "" {
			t.Fatalf("%s: got no address for TLS", command[1])
		}
		if strings.Contains(command[1], "--listen off") && s.addr != s.wss {
			t.Errorf("%s: got %s for plain HTTP, want none", command[1], s.addr)
		}
		if strings.Contains(command[1], "--http-redirect") {
			var st struct{ Redirect string }
			must(t, askControl(s.dir, "/status", &st))
			client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			request, err := http.NewRequest("GET", "http://"+st.Redirect+"/x", nil)
			must(t, err)
			request.Host = domain
			res, err := client.Do(request)
			must(t, err)
			res.Body.Close()
			if want := fmt.Sprintf("https://%s:%s/x", domain, port(s.wss)); res.StatusCode != 301 || res.Header.Get("Location") != want {
				t.Errorf("redirect: got %s to %q, want 301 to %s", res.Status, res.Header.Get("Location"), want)
			}
		}
		if strings.Contains(command[1], "--acme-domain") {
			if _, err := open(s.wss, dialing{secure: trusted(t)}); err == nil || !strings.Contains(err.Error(), "remote error: tls") {
				t.Errorf("by TLS before there is a certificate: got %v, want an alert", err)
			}
			continue
		}
		m := memberTLS(t, s, "g")
		must(t, m.text(sendCommand("g", "hi")))
		m.expect(t, "hi")
		res, err := httpsClient(t).Get("https://" + s.wss + "/healthz")
		must(t, err)
		res.Body.Close()
		equal(t, header[1], res.Header.Get("Strict-Transport-Security"), header[2])
	}
}

// As the section says of a proxy that passes TLS through: its header comes before the handshake, and says who the client is.
func TestAProxysHeaderComesBeforeTheTLSHandshake(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--proxy-protocol", "on", "--trusted-proxies", "127.0.0.1", "--compression", "on")
	for _, proxy := range []struct{ header, from string }{
		{"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n", "192.0.2.7"},
		{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc0\x00\x02\x01\x13\x88\x01\xbb", "192.0.2.8"},
	} {
		for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			c, err := connect(s.wss, dialing{})
			must(t, err)
			t.Cleanup(c.hangUp)
			must(t, c.raw([]byte(proxy.header)))
			c.conn, err = secured(c.conn, version(t, v))
			must(t, err)
			c.in.Reset(c.conn)
			must(t, c.handshake(s.wss, dialing{offer: deflate}))
			must(t, c.join("g"))
			must(t, c.text(sendCommand("g", proxy.from)))
			c.expect(t, proxy.from)
			if got := s.remotes()[proxy.from]; got == 0 {
				t.Errorf("connections: got %v, want one of %s", s.remotes(), proxy.from)
			}
			must(t, c.closeWith(1000, ""))
			c.expectClose(t, 1000)
		}
	}
	// Without the header nobody gets in.
	if c, err := open(s.wss, dialing{secure: trusted(t)}); err == nil {
		c.hangUp()
		t.Error("a hello without a header: got a handshake, want the end")
	}
}
