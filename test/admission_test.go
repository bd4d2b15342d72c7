package test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// Admission of connections.

// admissions is what the status says about connections that were refused.
type admissions struct {
	Total struct {
		Refused    map[string]uint64 `json:"refused_clients_by"`
		Handshakes map[string]uint64 `json:"handshakes"`
	} `json:"total"`
}

func (s *server) admissions() (a admissions) {
	s.t.Helper()
	must(s.t, askControl(s.dir, "/status", &a))
	return a
}

// refused opens a client that is to be refused with a status, and returns the body. One that is refused before its request
// may see a reset instead, because the request was never read.
func refused(t *testing.T, s *server, d dialing, status int) (body string) {
	t.Helper()
	c, err := open(s.addr, d)
	var answer *refusedError
	switch {
	case err == nil:
		c.hangUp()
		t.Errorf("%+v: got in, want %d", d, status)
	case errors.As(err, &answer) && answer.status != status:
		t.Errorf("%+v: got %v, want %d", d, err, status)
	case answer != nil:
		return answer.body
	}
	return ""
}

// remotes is the addresses of the clients that `ringcast connections` lists, without ports, and how many clients each has.
func (s *server) remotes() map[string]int {
	s.t.Helper()
	var list []struct {
		Remote string `json:"remote"`
	}
	must(s.t, askControl(s.dir, "/connections", &list))
	from := map[string]int{}
	for _, c := range list {
		host := c.Remote
		if a, err := netip.ParseAddrPort(c.Remote); err == nil {
			host = a.Addr().String()
		}
		from[host]++
	}
	return from
}

// forwarded is how a client connects through an HTTP proxy at 127.0.0.9.
func forwarded(list string) dialing {
	return dialing{from: "127.0.0.9", header: "X-Forwarded-For: " + list + "\r\n"}
}

func TestConnectionsBeyondTheBoundOfTheOperatorAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, "--clients-max", "3")
	equal(t, "clients_max", s.status().ClientsMax, 3)
	in := []*client{dial(t, s), dial(t, s), dial(t, s)}
	refused(t, s, dialing{}, 503)
	in[0].hangUp()
	s.eventually("room made is room given", func() error {
		c, err := open(s.addr, dialing{})
		if err == nil {
			t.Cleanup(c.hangUp)
		}
		return err
	})
	refused(t, s, dialing{}, 503)
	if got := s.admissions().Total.Refused["clients"]; got < 2 {
		t.Errorf("refused_clients_by clients: got %d, want 2 or more", got)
	}
}

func TestOneAddressHasSoManyConnectionsAndNoMore(t *testing.T) {
	t.Parallel()
	s := start(t, "--address-clients-max", "3", "--loops", "2")
	var in []*client
	for range 3 {
		in = append(in, dial(t, s, dialing{from: "127.0.0.2"}))
	}
	refused(t, s, dialing{from: "127.0.0.2"}, 503)
	for range 3 {
		dial(t, s, dialing{from: "127.0.0.3"})
	}
	// A client that disconnects, one that sends a Close, one that breaks the protocol: each releases its place, once.
	in[0].die()
	must(t, in[1].closeWith(1000, ""))
	in[1].hangUp()
	must(t, in[2].raw([]byte{0xff, 0xff}))
	in[2].hangUp()
	for range 3 {
		s.eventually("room made is room given", func() error {
			c, err := open(s.addr, dialing{from: "127.0.0.2"})
			if err == nil {
				t.Cleanup(c.hangUp)
			}
			return err
		})
	}
	refused(t, s, dialing{from: "127.0.0.2"}, 503)
	if got := s.admissions().Total.Refused["address"]; got < 2 {
		t.Errorf("refused_clients_by address: got %d, want 2 or more", got)
	}
}

func TestBehindATrustedHTTPProxyTheForwardedAddressCounts(t *testing.T) {
	t.Parallel()
	s := start(t, "--trusted-proxies", "127.0.0.9, 10.0.0.0/8", "--address-clients-max", "2")
	dial(t, s, forwarded("192.0.2.1"))
	dial(t, s, forwarded("198.51.100.7, 192.0.2.1, 10.1.2.3"))
	if body := refused(t, s, forwarded("192.0.2.1"), 429); !strings.Contains(body, "from this address") {
		t.Errorf("the refusal says %q, want why", body)
	}
	dial(t, s, forwarded("2001:db8:0:1::5"))
	dial(t, s, forwarded("2001:db8:0:1:9::6"))
	refused(t, s, forwarded("2001:db8:0:1:a::7"), 429)
	for range 3 { // a proxy itself is not counted
		dial(t, s, forwarded("nonsense"))
	}
	dial(t, s, dialing{from: "127.0.0.4", header: "X-Forwarded-For: 192.0.2.77\r\n"}) // not trusted, so its header is ignored
	want := map[string]int{"192.0.2.1": 2, "2001:db8:0:1::5": 1, "2001:db8:0:1:9::6": 1, "127.0.0.9": 3, "127.0.0.4": 1}
	s.eventually("connections shows where clients come from", func() error {
		if got := s.remotes(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

func TestATrustedProxyNamesItsClientsByThePROXYProtocol(t *testing.T) {
	t.Parallel()
	s := start(t, "--trusted-proxies", "127.0.0.9", "--proxy-protocol", "on", "--address-clients-max", "1", "--handshake-timeout", "1m")
	through := func(header string, pieces int) (*client, error) {
		c, err := connect(s.addr, dialing{from: "127.0.0.9"})
		must(t, err)
		t.Cleanup(c.hangUp)
		for i := range pieces {
			must(t, c.raw([]byte(header[i*len(header)/pieces:(i+1)*len(header)/pieces])))
		}
		return c, c.handshake(s.addr, dialing{})
	}
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11" + string(binary.BigEndian.AppendUint16(nil, 12+3)) +
		"\xc0\x00\x02\x02\x0a\x00\x00\x01\x10\x00\x00\x50" + "\x04\x00\x00"
	for _, header := range []string{
		"PROXY TCP4 192.0.2.1 10.0.0.1 4096 80\r\n", v2, "PROXY TCP6 2001:db8::5 2001:db8::1 4096 80\r\n",
		"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		c, err := through(header, min(len(header), 5))
		if err != nil {
			t.Errorf("%q: %v", header, err)
			continue
		}
		must(t, c.join("g"))
	}
	for header, status := range map[string]int{
		"PROXY TCP4 192.0.2.1 10.0.0.1 4097 80\r\n": 429, // a second one from this address
		"":                                       400,
		"PROXY TCP4 192.0.2.3 10.0.0.1 4097\r\n": 400,
	} {
		_, err := through(header, 1)
		var answer *refusedError
		if !errors.As(err, &answer) || answer.status != status {
			t.Errorf("%q: got %v, want %d", header, err, status)
		}
	}
	dial(t, s, dialing{from: "127.0.0.5"}) // direct: needs no header
	want := map[string]int{"192.0.2.1": 1, "192.0.2.2": 1, "2001:db8::5": 1, "127.0.0.9": 2, "127.0.0.5": 1}
	s.eventually("connections shows where clients come from", func() error {
		if got := s.remotes(); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("got %v, want %v", got, want)
		}
		return nil
	})
}

func TestPagesOfOtherOriginsMayNotConnect(t *testing.T) {
	t.Parallel()
	s := start(t, "--allowed-origins", "https://example.org, https://*.example.net")
	from := func(origin string) dialing { return dialing{header: "Origin: " + origin + "\r\n"} }
	dial(t, s)
	dial(t, s, from("https://example.org"))
	dial(t, s, from("https://chat.example.net"))
	for _, origin := range []string{"https://evil.example", "http://example.org", "https://example.net", "null"} {
		if body := refused(t, s, from(origin), 403); !strings.Contains(body, quote(origin)) {
			t.Errorf("%s: the refusal says %q, want the origin named", origin, body)
		}
	}
	equal(t, "handshakes of another origin", s.admissions().Total.Handshakes["origin"], 4)
}

// A client that sends nothing keeps its place only until others need it: the oldest is closed.
func TestWhoFinishesItsHandshakeGetsInHoweverManyDoNot(t *testing.T) {
	t.Parallel()
	s := start(t, "--handshakes-max", "8", "--loops", "2", "--handshake-timeout", "10m")
	var silent []*client
	for range 40 {
		c := bare(t, s)
		must(t, c.raw([]byte("GET / HTTP/1.1\r\n")))
		silent = append(silent, c)
	}
	for range 20 {
		must(t, dial(t, s).join("g"))
	}
	s.eventually("no more than the bound are left", func() error {
		st := s.status().Total
		if evicted := s.admissions().Total.Handshakes["evicted"]; st.Pending > 8 || evicted < 32 || st.BadHandshakes != evicted {
			return fmt.Errorf("got %d pending, %d evicted, %d bad_handshakes; want at most 8, at least 32 and as many", st.Pending, evicted, st.BadHandshakes)
		}
		return nil
	})
	var answer *refusedError
	if err := silent[0].upgraded(""); !errors.As(err, &answer) || answer.status != 408 {
		t.Errorf("the oldest: got %v, want 408", err)
	}
}

func TestHandshakesBeyondTheRateAreRefusedAndToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	s := start(t, "--handshake-rate", "1")
	var after string
	s.eventually("one of many in a moment is refused", func() error {
		c, err := open(s.addr, dialing{})
		var answer *refusedError
		if errors.As(err, &answer) && answer.status == 503 {
			after = answer.header.Get("Retry-After")
			return nil
		}
		if err == nil {
			t.Cleanup(c.hangUp)
		}
		return fmt.Errorf("got %v", err)
	})
	if seconds, err := strconv.Atoi(after); err != nil || seconds < 1 || seconds > 8 {
		t.Errorf("Retry-After of the refusal: got %q, want 1 to 8 seconds", after)
	}
	s.eventually("who tries again gets in", func() error {
		c, err := open(s.addr, dialing{})
		if err == nil {
			c.hangUp()
		}
		return err
	})
	if got := s.admissions().Total.Refused["handshake_rate"]; got == 0 {
		t.Error("refused_clients_by handshake_rate: got 0, want some")
	}
}

func TestTheBoundOnARequestHeadIsAnOption(t *testing.T) {
	t.Parallel()
	s := start(t, "--handshake-max", "32KiB")
	dial(t, s, dialing{header: "Cookie: " + strings.Repeat("c", 30<<10) + "\r\n"})
	if body := refused(t, s, dialing{header: "Cookie: " + strings.Repeat("c", 33<<10) + "\r\n"}, 431); !strings.Contains(body, "32768 bytes") {
		t.Errorf("the refusal says %q, want the bound", body)
	}
}
