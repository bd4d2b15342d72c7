package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// served is the first name of the certificate that a client gets who asks for a name.
func served(t *testing.T, s *Store, name string, more ...func(*tls.ClientHelloInfo)) string {
	t.Helper()
	hello := &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}}
	for _, change := range more {
		change(hello)
	}
	c, err := s.certificate(hello)
	switch {
	case err != nil:
		return "none: " + err.Error()
	case c == nil:
		return "none"
	}
	return fmt.Sprintf("%s %d", c.Leaf.DNSNames[0], c.Leaf.SerialNumber)
}

func TestACertificateIsChosenByServerName(t *testing.T) {
	f := newFolder(t)
	s, _ := opened(t, f.write("first", making{names: []string{"first.example", "*.wild.example"}}), f.write("second", making{names: []string{"second.example", "very.wild.example"}}))
	for name, want := range map[string]string{
		"first.example": "first", "FIRST.Example": "first", "second.example": "second", "a.wild.example": "first", "very.wild.example": "second",
		"wild.example": "first", "a.b.wild.example": "first", "stranger.example": "first", "": "first",
	} {
		if got := served(t, s, name); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got the certificate for %s, want that for %s.example", name, got, want)
		}
	}
}

func TestOfTwoCertificatesForANameTheClientGetsOneThatItCanCheck(t *testing.T) {
	f := newFolder(t)
	s, _ := opened(t, f.write("new", making{names: []string{"a.example"}}), f.write("old", making{names: []string{"a.example"}, rsa: true}))
	first, second := served(t, s, "a.example"), served(t, s, "a.example", func(h *tls.ClientHelloInfo) {
		h.CipherSuites, h.SupportedVersions, h.SignatureSchemes = h.CipherSuites[1:], h.SupportedVersions[1:], h.SignatureSchemes[1:]
	})
	if first == second {
		t.Errorf("got %s for both clients, want the RSA certificate for the one that knows no elliptic curves", first)
	}
	if got := served(t, s, ""); got != first {
		t.Errorf("without a name: got %s, want the first, %s", got, first)
	}
}

func TestWrongFilesAreNamedWithTheMend(t *testing.T) {
	f := newFolder(t)
	good, goodKey := made(t, making{names: []string{"a.example"}})
	_, otherKey := made(t, making{names: []string{"a.example"}})
	forClients, forClientsKey := made(t, making{names: []string{"a.example"}, uses: []x509Usage{clientAuth}})
	secret := strings.Split(string(goodKey), "\n")[1]
	for what, c := range map[string]struct {
		chain, key []byte
		inKey      bool
		wants      []string
	}{
		"no PEM in the certificate":         {[]byte("hello"), goodKey, false, []string{"is not in PEM", "-----BEGIN CERTIFICATE-----"}},
		"no PEM in the key":                 {good, []byte(secret), true, []string{"is not in PEM", "-----BEGIN PRIVATE KEY-----"}},
		"a certificate in place of the key": {good, good, true, []string{"has no private key in it, but certificate", "name the file with the key"}},
		"a key in place of the certificate": {goodKey, goodKey, false, []string{"has no certificate in it, but private key"}},
		"an empty certificate":              {nil, goodKey, false, []string{"is empty; name the file with the certificate"}},
		"an empty key":                      {good, nil, true, []string{"is empty; name the file with the key"}},
		"who made it first":                 {append(slices.Clone(forClients), good...), goodKey, false, []string{"the key is that of certificate 2 of the file; put it first"}},
		"a key of another certificate":      {good, otherKey, false, []string{"the two do not belong together"}},
		"an encrypted key":                  {good, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), true, []string{"is encrypted", "openssl pkey"}},
		"an old encrypted key":              {good, []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"), true, []string{"is encrypted"}},
		"a certificate for clients":         {forClients, forClientsKey, false, []string{"is not for servers"}},
		"too much":                          {append(good, make([]byte, fileBytesMax)...), goodKey, false, []string{"has more than 256 KiB"}},
	} {
		p := f.put("x", c.chain, c.key)
		_, err := Open([]Pair{p}, Options{})
		var in *FileError
		if !errors.As(err, &in) || in.Key != c.inKey {
			t.Errorf("%s: got %v, want a FileError of the key: %v", what, err, c.inKey)
			continue
		}
		has(t, what, err.Error(), c.wants...)
		if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: got %q, want nothing of a key in it", what, err)
		}
	}
	for what, p := range map[string]Pair{"no file": f.pair("none"), "a directory": {f.path, f.path}} {
		if _, err := Open([]Pair{p}, Options{}); err == nil || !strings.Contains(err.Error(), "; name a file") {
			t.Errorf("%s: got %v, want an error with its mend", what, err)
		}
	}
}

func TestACertificateThatIsNotGoodNowIsServedAndWarnedOf(t *testing.T) {
	f := newFolder(t)
	for what, c := range map[string]struct {
		m    making
		want string
		days int
	}{
		"good":                {making{}, "", 89},
		"expired":             {making{from: noon.Add(-90 * day), until: noon.Add(-time.Hour)}, "has expired on 2030-06-01 11:00 UTC", -1},
		"not valid yet":       {making{from: noon.Add(day)}, "is not valid before 2030-06-02 12:00 UTC", 91},
		"ends soon":           {making{until: noon.Add(13*day + 2*time.Hour)}, "", 13},
		"ends soon, long":     {making{from: noon.Add(-77 * day), until: noon.Add(13*day + 2*time.Hour)}, "expires in 13 days", 13},
		"ends in hours":       {making{from: noon.Add(-77 * day), until: noon.Add(29 * time.Hour)}, "expires in 29 hours", 1},
		"two weeks and a bit": {making{from: noon.Add(-77 * day), until: noon.Add(14*day + time.Hour)}, "", 14},
		"lives for six days":  {making{until: noon.Add(5 * day)}, "", 5},
	} {
		c.m.names = []string{"a.example"}
		s, _ := opened(t, f.write("x", c.m))
		served(t, s, "a.example")
		got := strings.Join(s.Warnings(), "\n")
		if c.want == "" && got != "" {
			t.Errorf("%s: got %q, want no warning", what, got)
		}
		has(t, what, got, c.want)
		if c.want != "" {
			has(t, what, got, "a.example", "x.pem")
		}
		if days := *s.Status()[0].Days; days != c.days {
			t.Errorf("%s: days left: got %d, want %d", what, days, c.days)
		}
	}
}

func TestAReloadTellsTheLogOfWhatIsLikelyAMistakeOnce(t *testing.T) {
	f := newFolder(t)
	p := f.write("a", making{names: []string{"a.example"}})
	var log strings.Builder
	s, err := Open([]Pair{p}, Options{Log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return noon }})
	must(t, err)
	f.write("a", making{from: noon.Add(-80 * day), issuerURL: "http://ca.example/ca.der"})
	must(t, os.Chmod(p.KeyFile, 0o644))
	for range 2 {
		if _, err := s.Reload([]Pair{p}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"can be read by every user", "fullchain.pem", "names no host", "expires in 10 days"} {
		if got := strings.Count(log.String(), want); got != 1 {
			t.Errorf("log: got %q %d times in %s, want it once", want, got, log.String())
		}
	}
}

func TestWhatIsLikelyAMistakeIsWarnedOf(t *testing.T) {
	f := newFolder(t)
	p := f.write("alone", making{names: []string{"a.example"}, issuerURL: "http://ca.example/ca.der"})
	must(t, os.Chmod(p.KeyFile, 0o644))
	s, _ := opened(t, p, f.write("nameless", making{}))
	has(t, "warnings", strings.Join(s.Warnings(), "\n"), "can be read by every user of this machine (mode 0644); chmod it to 0600", "fullchain.pem", "names no host")
	must(t, os.Chmod(p.KeyFile, 0o640))
	if _, err := s.Reload([]Pair{p}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Warnings(), "\n"); strings.Contains(got, "mode") {
		t.Errorf("a key that a group may read: got %q, want no warning of it", got)
	}
}

func TestAReloadTakesAllFilesOrNone(t *testing.T) {
	f := newFolder(t)
	a, b := f.write("a", making{names: []string{"a.example"}}), f.write("b", making{names: []string{"b.example"}})
	s, _ := opened(t, a, b)
	before := served(t, s, "a.example")
	f.write("a", making{names: []string{"a.example"}})
	chain, _ := made(t, making{names: []string{"b.example"}})
	f.put("b", chain, []byte("no key"))
	if _, err := s.Reload([]Pair{a, b}); err == nil || !strings.Contains(err.Error(), "b.key") {
		t.Fatalf("with a wrong pair: got %v, want an error that names its file", err)
	}
	if a, b := s.Status()[0].Failure, s.Status()[1].Failure; a != "" || !strings.Contains(b, "is not in PEM") {
		t.Errorf("status at once: got failures %q and %q, want that of the wrong pair alone", a, b)
	}
	if got := served(t, s, "a.example"); got != before || s.Failed() != 1 {
		t.Errorf("after a wrong pair: got %s and %d failures, want %s as before, and one", got, s.Failed(), before)
	}
	f.write("b", making{names: []string{"b.example"}})
	renewed, err := s.Reload([]Pair{a, b})
	if err != nil || len(renewed) != 2 || served(t, s, "a.example") == before {
		t.Errorf("with good pairs: got %v, %v and %s, want both renewed", renewed, err, served(t, s, "a.example"))
	}
	if renewed, err := s.Reload([]Pair{a, b}); err != nil || len(renewed) > 0 {
		t.Errorf("once more: got %v, %v, want that nothing is new", renewed, err)
	}
	c := f.write("c", making{names: []string{"c.example"}})
	if _, err := s.Reload([]Pair{c, a}); err != nil {
		t.Fatal(err)
	}
	if got := served(t, s, "b.example"); !strings.HasPrefix(got, "c.example") {
		t.Errorf("after other files were named: got %s for b.example, want the first of them", got)
	}
}

func TestWhatIsNotGoodNowDoesNotReplaceWhatIs(t *testing.T) {
	for what, m := range map[string]making{
		"expired":       {from: noon.Add(-9 * day), until: noon.Add(-day)},
		"not valid yet": {from: noon.Add(day)},
	} {
		f := newFolder(t)
		p := f.write("a", making{names: []string{"a.example"}})
		s, clock := opened(t, p)
		before := served(t, s, "a.example")
		m.names = []string{"a.example"}
		f.write("a", m)
		if _, err := s.Reload([]Pair{p}); err == nil {
			t.Errorf("%s: got no error from a reload, want the new certificate refused", what)
		}
		has(t, what+", status at once", s.Status()[0].Failure, "check the machine's clock")
		s.look()
		s.look()
		if got := served(t, s, "a.example"); got != before || s.Failed() != 1 {
			t.Errorf("%s: got %s and %d failures, want %s as before, and one", what, got, s.Failed(), before)
		}
		has(t, what, strings.Join(s.Warnings(), "\n"), "is not used", "check the machine's clock")
		later := noon.Add(200 * day) // neither is good then, and what is in the file is what the operator wants
		clock.Store(&later)
		if _, err := s.Reload([]Pair{p}); err != nil {
			t.Errorf("%s: where the one before is not good either: got %v, want it taken", what, err)
		}
	}
}

func TestFilesThatChangeAreReadWhenTheyAreStill(t *testing.T) {
	f := newFolder(t)
	a, b := f.write("a", making{names: []string{"a.example"}}), f.write("b", making{names: []string{"b.example"}})
	s, _ := opened(t, a, b)
	first := served(t, s, "a.example")
	s.look()
	chain, key := made(t, making{names: []string{"a.example"}})
	must(t, os.WriteFile(a.CertFile, chain, 0o600)) // the key comes later
	s.look()
	if got := served(t, s, "a.example"); got != first || s.Failed() != 0 {
		t.Errorf("between the two files: got %s and %d failures, want %s and none", got, s.Failed(), first)
	}
	must(t, os.WriteFile(a.KeyFile, key, 0o600))
	s.look()
	s.look()
	second := served(t, s, "a.example")
	if second == first || s.Failed() != 0 {
		t.Errorf("when both are still: got %s and %d failures, want the new one and none", second, s.Failed())
	}
	// A wrong pair stays out, is told once, and keeps no other from being renewed.
	f.put("a", []byte("x"), []byte("y"))
	f.write("b", making{names: []string{"b.example"}})
	old := served(t, s, "b.example")
	for range 4 {
		s.look()
	}
	if got := served(t, s, "a.example"); got != second || s.Failed() != 1 {
		t.Errorf("with a wrong pair: got %s and %d failures, want %s and one", got, s.Failed(), second)
	}
	if served(t, s, "b.example") == old {
		t.Error("beside a wrong pair: got the old certificate of another, want the new one")
	}
	if got := s.Status()[0].Failure; !strings.Contains(got, "is not in PEM") {
		t.Errorf("status: got failure %q, want why the new one is not used", got)
	}
	must(t, os.Remove(a.CertFile))
	s.look()
	s.look()
	if got := served(t, s, "a.example"); got != second || s.Failed() != 2 {
		t.Errorf("without the file: got %s and %d failures, want %s and two", got, s.Failed(), second)
	}
	f.write("a", making{names: []string{"a.example"}})
	s.look()
	s.look()
	if served(t, s, "a.example") == second || s.Status()[0].Failure != "" {
		t.Errorf("when it is right again: got %s, failure %q, want the new one", served(t, s, "a.example"), s.Status()[0].Failure)
	}
}

func TestAFileThatWasNotGoodIsTakenWhenItIs(t *testing.T) {
	f := newFolder(t)
	p := f.write("a", making{names: []string{"a.example"}, from: noon.Add(-80 * day)})
	s, clock := opened(t, p)
	before := served(t, s, "a.example")
	f.write("a", making{names: []string{"a.example"}, from: noon.Add(day)})
	for range 3 {
		s.look()
	}
	if got := served(t, s, "a.example"); got != before || s.Failed() != 1 {
		t.Errorf("before it is valid: got %s and %d failures, want %s and one", got, s.Failed(), before)
	}
	later := noon.Add(2 * day) // and nobody has touched the files since
	clock.Store(&later)
	s.look()
	if got := served(t, s, "a.example"); got == before || s.Status()[0].Failure != "" || s.Failed() != 1 {
		t.Errorf("when it is valid: got %s, %+v and %d failures, want the new one", got, s.Status()[0], s.Failed())
	}
}

func TestAFileThatIsPutBackIsNoFailureAnyMore(t *testing.T) {
	f := newFolder(t)
	p := f.write("a", making{names: []string{"a.example"}})
	s, _ := opened(t, p)
	before := served(t, s, "a.example")
	must(t, os.Rename(p.CertFile, p.CertFile+".away"))
	s.look()
	s.look()
	if s.Status()[0].Failure == "" {
		t.Error("without the file: got no failure")
	}
	must(t, os.Rename(p.CertFile+".away", p.CertFile))
	s.look()
	s.look()
	if got := served(t, s, "a.example"); got != before || s.Status()[0].Failure != "" {
		t.Errorf("when it is there again: got %s, %+v, want it without a failure", got, s.Status()[0])
	}
}

func TestAnotherFileThatIsNotGoodNowTakesNoNameFromOneThatIs(t *testing.T) {
	f := newFolder(t)
	good, stale := f.write("a", making{names: []string{"a.example"}}), f.write("b", making{names: []string{"b.example"}, from: noon.Add(-90 * day), until: noon.Add(-day)})
	s, _ := opened(t, good, stale)
	before := served(t, s, "a.example")
	late := f.write("c", making{names: []string{"c.example", "a.example"}, from: noon.Add(-90 * day), until: noon.Add(-day)})
	if _, err := s.Reload([]Pair{late, stale}); err == nil || !strings.Contains(err.Error(), "c.pem") {
		t.Errorf("got %v, want the expired certificate refused", err)
	}
	if got := served(t, s, "a.example"); got != before {
		t.Errorf("after that: got %s, want %s as before", got, before)
	}
	if _, err := s.Reload([]Pair{stale, good}); err != nil {
		t.Errorf("what was served before: got %v, want it taken in another order", err)
	}
}

// A Secret of Kubernetes, and certbot's live directory, are links that are turned.
func TestALinkThatIsTurnedIsAChange(t *testing.T) {
	f := newFolder(t)
	one, two := f.write("1", making{names: []string{"a.example"}}), f.write("2", making{names: []string{"a.example"}})
	p := f.pair("live")
	must(t, os.Symlink(one.CertFile, p.CertFile))
	must(t, os.Symlink(one.KeyFile, p.KeyFile))
	s, _ := opened(t, p)
	before := served(t, s, "a.example")
	for link, to := range map[string]string{p.CertFile: two.CertFile, p.KeyFile: two.KeyFile} {
		must(t, os.Symlink(to, link+".new"))
		must(t, os.Rename(link+".new", link))
	}
	s.look()
	s.look()
	if got := served(t, s, "a.example"); got == before {
		t.Errorf("got %s, want the other one", got)
	}
}

func TestARenewedCertificateIsServedToTheNextAndOpenConnectionsStay(t *testing.T) {
	f := newFolder(t)
	p := f.write("a", making{names: []string{"a.example"}})
	s, _ := opened(t, p)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", s.Config())
	must(t, err)
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // an echo
				defer c.Close()
				var b [1]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return
					}
					if _, err := c.Write(b[:]); err != nil {
						return
					}
				}
			}()
		}
	}()
	dial := func() (*tls.Conn, string) {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"})
		must(t, err)
		return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	echo := func(c *tls.Conn) {
		t.Helper()
		b := []byte{7}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	old, first := dial()
	defer old.Close()
	echo(old)
	f.write("a", making{names: []string{"a.example"}})
	s.look()
	s.look()
	next, second := dial()
	defer next.Close()
	if first == second {
		t.Error("the next connection: got the old certificate, want the new one")
	}
	echo(next)
	echo(old)
}

func TestManyHandshakesAndLooksAtOnceAreNoRace(t *testing.T) {
	f := newFolder(t)
	p := f.write("a", making{names: []string{"a.example"}})
	s, _ := opened(t, p)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				_ = served(t, s, "a.example")
				_ = s.Warnings()
			}
		})
	}
	for range 20 {
		f.write("a", making{names: []string{"a.example"}})
		s.look()
		s.look()
		s.tell()
	}
	all.Wait()
}

func TestRunLooksUntilItIsEnded(t *testing.T) {
	f := newFolder(t)
	s, _ := opened(t, f.write("a", making{names: []string{"a.example"}}))
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { s.Run(ctx); close(over) }()
	cancel()
	select {
	case <-over:
	case <-time.After(20 * time.Second):
		t.Error("Run goes on after its end")
	}
}

func TestMetricsHaveEachNameOnce(t *testing.T) {
	f := newFolder(t)
	s, _ := opened(t, f.write("a", making{names: []string{"a.example"}}), f.write("b", making{names: []string{"a.example"}, until: noon.Add(day)}), f.write("c", making{names: []string{"c.example"}}))
	r := prometheus.NewRegistry()
	r.MustRegister(s)
	families, err := r.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			key := family.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{"ringcast_tls_certificate_expiry_seconds a.example": 86400, "ringcast_tls_certificate_expiry_seconds c.example": 89 * 86400, "ringcast_tls_certificate_failures_total": 0}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheDirectoryOfKeysIsTheServersAlone(t *testing.T) {
	base := t.TempDir()
	o := ACMEOptions{Domains: []string{"a.example"}, DirectoryURL: "https://127.0.0.1:1/"}
	o.Dir = filepath.Join(base, "made", "here")
	if _, err := NewACME(o); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(o.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a directory that was not there: got %v, %v, want one with mode 0700", info, err)
	}
	for mode, want := range map[os.FileMode]string{0o700: "", 0o755: "", 0o770: "can be written by other users (mode 0770)", 0o777: "can be written by other users (mode 0777)"} {
		must(t, os.Chmod(o.Dir, mode))
		_, err := NewACME(o)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("mode %04o: got %v, want %q", mode, err, want)
		}
	}
	o.Dir = filepath.Join(base, "file")
	must(t, os.WriteFile(o.Dir, nil, 0o600))
	if _, err := NewACME(o); err == nil || !strings.Contains(err.Error(), "; name") {
		t.Errorf("a file: got %v, want an error with its mend", err)
	}
	o.Dir, o.RootCAs = filepath.Join(base, "made"), filepath.Join(base, "file")
	if _, err := NewACME(o); err == nil || !strings.Contains(err.Error(), "has no certificate in it") {
		t.Errorf("roots without a certificate: got %v, want that there is none", err)
	}
}

func TestWhatWasObtainedBeforeIsServedAtOnceAlsoIfItHasExpired(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "acme")
	must(t, os.Mkdir(dir, 0o700))
	for name, m := range map[string]making{"a.example": {}, "b.example": {from: noon.Add(-90 * day), until: noon.Add(-day)}} {
		m.names = []string{name}
		chain, key := made(t, m)
		must(t, os.WriteFile(filepath.Join(dir, name), append(key, chain...), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "c.example"), []byte("spoilt"), 0o600))
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example", "b.example", "c.example"}, Dir: dir, DirectoryURL: "https://127.0.0.1:1/", now: func() time.Time { return noon }})
	must(t, err)
	for name, want := range map[string]string{"a.example": "a.example", "b.example": "b.example", "c.example": "a.example", "": "a.example"} {
		if got := served(t, s, name); !strings.HasPrefix(got, want) {
			t.Errorf("%q: got %s, want that of %s", name, got, want)
		}
	}
	has(t, "warnings", strings.Join(s.Warnings(), "\n"), "b.example has expired", "no certificate for c.example yet")
}

// A handshake never asks an authority: it would wait for minutes.
func TestAHandshakeDoesNotWaitForAnAuthority(t *testing.T) {
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example"}, Dir: filepath.Join(t.TempDir(), "x"), DirectoryURL: "https://127.0.0.1:1/"})
	must(t, err)
	if got := served(t, s, "a.example"); got != "none" {
		t.Errorf("got %s, want none yet", got)
	}
	challenge := func(h *tls.ClientHelloInfo) { h.SupportedProtos = []string{challengeProtocol} }
	for _, name := range []string{"a.example", "stranger.example", "", "../../etc/passwd"} {
		if got := served(t, s, name, challenge); !strings.HasPrefix(got, "none") {
			t.Errorf("a challenge for %q that nobody has asked for: got %s, want none", name, got)
		}
	}
	if got := strings.Join(s.Config().NextProtos, ","); got != "acme-tls/1" {
		t.Errorf("protocols: got %q, want that of challenges", got)
	}
}
