package test

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// Certificates are renewed while clients come and hear: nobody is closed, and the next is shown the new one.

// renewing is a server whose certificate changes under load.
type renewing struct {
	*server
	folder string
}

// shown is the number of the certificate that who comes now is shown.
func (s *renewing) shown() (string, error) {
	c, err := overTLS(s.wss, "127.0.0.1", nil)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return serialOf(c), nil
}

// inFile is the number of the one that lies in the file.
func (s *renewing) inFile() string {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.folder+"/cert.pem", s.folder+"/key.pem")
	must(s.t, err)
	return pair.Leaf.SerialNumber.String()
}

func TestACertificateRenewedUnderLoadClosesNobody(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	cert, key := certificateFor(t, folder, "127.0.0.1")
	s := &renewing{start(t, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--compression", "on"), folder}
	at := *s.server
	at.addr = s.wss
	first, err := s.shown()
	must(t, err)
	anyone := &tls.Config{InsecureSkipVerify: true} // certificates change; they are looked at by shown
	load := few
	load.pace = calm
	load.dialing, load.senders = dialing{secure: anyone, offer: deflate}, dialing{secure: anyone}
	besidesOf(t, &at, load, func(b *bystanders) {
		// Somebody comes and goes all the time, with a session of the certificate before, or a fresh one.
		over, came := make(chan struct{}), atomic.Int64{}
		ended := make(chan error, 1)
		go func() {
			again := time.NewTicker(10 * time.Millisecond)
			defer again.Stop()
			sessions := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			for n := 0; ; n++ {
				select {
				case <-over:
					ended <- nil
					return
				case <-again.C:
				}
				c, err := open(s.wss, dialing{secure: []*tls.Config{anyone, sessions}[n%2]})
				if err == nil {
					_, err = c.beforePong()
					c.die()
				}
				if err != nil {
					ended <- fmt.Errorf("newcomer %d: %w", n, err)
					return
				}
				came.Add(1)
			}
		}()
		was := first
		renewed := func(how string, reload func()) {
			t.Helper()
			certificateFor(t, folder, "127.0.0.1")
			want := s.inFile()
			reload()
			s.eventually(how+": the new certificate is shown", func() error {
				if got, err := s.shown(); err != nil || got != want || got == was {
					return fmt.Errorf("got %s, %v; want %s", got, err, want)
				}
				return nil
			})
			was = want
			b.goOn()
		}
		renewed("by the files alone", func() {})
		for range 3 {
			renewed("by a reload", func() {
				if r := run("reload", "--run-dir", s.dir); r.exit != 0 {
					t.Errorf("reload: got exit %d: %s", r.exit, r.all())
				}
			})
		}

		// A wrong one is refused, and the one before stays, whether the key is another's or the file is none.
		text, err := os.ReadFile(cert)
		must(t, err)
		elsewhere := t.TempDir()
		_, foreign := certificateFor(t, elsewhere, "127.0.0.1")
		for what, spoil := range map[string]func(){
			"another's key": func() { copyFile(t, foreign, key+".new"); must(t, os.Rename(key+".new", key)) },
			"no certificate": func() {
				must(t, os.WriteFile(cert+".new", text[:len(text)/2], 0o600))
				must(t, os.Rename(cert+".new", cert))
			},
		} {
			certificateFor(t, folder, "127.0.0.1")
			if r := run("reload", "--run-dir", s.dir); r.exit != 0 {
				t.Errorf("reload: got exit %d: %s", r.exit, r.all())
			}
			was = s.inFile()
			spoil()
			if r := run("reload", "--run-dir", s.dir); r.exit == 0 {
				t.Errorf("reload of %s: got exit 0, want it refused: %s", what, r.all())
			}
			if got, err := s.shown(); err != nil || got != was {
				t.Errorf("%s: got certificate %s shown, %v; want %s still", what, got, err, was)
			}
			b.goOn()
		}
		renewed("a good one again", func() {})
		close(over)
		must(t, <-ended)
		if came.Load() == 0 {
			t.Error("nobody has come meanwhile")
		}
		t.Logf("%d came meanwhile", came.Load())
	})
	equal(t, "handshakes that have failed", s.wire().Handshakes["failed"], 0)
}
