package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACMEOptions is what NewACME needs.
type ACMEOptions struct {
	Domains      []string // host names, 1 to DomainsMax, in lower case
	Dir          string   // where certificates, keys and the account are kept; it is made if it is not there
	DirectoryURL string   // of the authority
	Email        string   // where the authority writes to; empty: nowhere
	RootCAs      string   // PEM file with the certificates of who may have made that of the authority's server; empty: the machine's
	Log          *slog.Logger

	now func() time.Time // tests have another clock
}

// DomainsMax bounds the domains of an authority's certificates: each has a goroutine, and authorities bound how many they make.
const DomainsMax = 100

// LetsEncrypt is where certificates are from unless an operator says otherwise.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Times and bounds of an authority.
const (
	retryMin        = 90 * time.Second // from a failure to the next try; each further one doubles it, since authorities count failures. autocert itself remembers a failure for a minute
	retryMax        = time.Hour
	obtainsMax      = 4                              // at a time
	acmeTimeout     = 30 * time.Second               // for one answer of the authority
	challengePrefix = "/.well-known/acme-challenge/" // RFC 8555 §8.3
)

// challengeProtocol is what an authority's TLS-ALPN-01 challenge asks for (RFC 8737).
const challengeProtocol = acme.ALPNProto

// authority is who makes certificates, as autocert knows it.
//
// Owner: managers have their own locks; domains have one.
type authority struct {
	fresh   func() *autocert.Manager // with the same directory and account
	host    string                   // of its server, for texts
	byHTTP  bool                     // HTTP-01 challenges are answered
	domains []*domain                // immutable
	reasons *reasons
	places  chan struct{}

	mu sync.Mutex // of the domains
}

// domain is a host name for which there is to be a certificate. What is below has the lock of the authority.
type domain struct {
	name    string
	poke    chan struct{}                    // has a token if it is to be tried at once
	manager atomic.Pointer[autocert.Manager] // who sees to it; of several domains until a try fails

	has     *certificate // nil: there is none yet
	failure string       // why the last try has brought none; empty: it has, or there was none
	next    time.Time    // when it is tried again; zero: the last try has not failed
}

// NewACME obtains certificates from an authority, beginning with Run, and serves those that it has obtained before. An error says what is
// wrong with the directory or the file of roots, as a FileError.
func NewACME(o ACMEOptions) (*Store, error) {
	s := newStore(o.Log, o.now)
	listens := &reasons{next: http.DefaultTransport, why: map[string][]string{}}
	if o.RootCAs != "" {
		text, err := readFile(o.RootCAs)
		roots := x509.NewCertPool()
		if err == nil && !roots.AppendCertsFromPEM(text) {
			err = errors.New("has no certificate in it; name a file with one in PEM")
		}
		if err != nil {
			return nil, &FileError{File: o.RootCAs, Err: err}
		}
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		listens.next = transport
	}
	if err := useDir(o.Dir); err != nil {
		return nil, &FileError{File: o.Dir, Key: true, Err: err}
	}
	s.acme = &authority{
		fresh: func() *autocert.Manager {
			return &autocert.Manager{
				Prompt:     autocert.AcceptTOS, // the operator's part, as docs/operating.md says
				Cache:      autocert.DirCache(o.Dir),
				HostPolicy: autocert.HostWhitelist(o.Domains...),
				Email:      o.Email,
				Client:     &acme.Client{DirectoryURL: o.DirectoryURL, HTTPClient: &http.Client{Timeout: acmeTimeout, Transport: listens}, UserAgent: "ringcast"},
			}
		},
		host:    o.DirectoryURL,
		reasons: listens,
		places:  make(chan struct{}, obtainsMax),
	}
	if at, err := url.Parse(o.DirectoryURL); err == nil && at.Host != "" {
		s.acme.host = at.Host
	}
	first := s.acme.fresh() // of all: several would make an account each
	for _, name := range o.Domains {
		d := &domain{name: name, poke: make(chan struct{}, 1)}
		d.manager.Store(first)
		if text, err := first.Cache.Get(context.Background(), name); err == nil { // one that has expired too: it is better than none
			if d.has, err = newCertificate(text, text); err != nil {
				d.has = nil
				s.log.Warn("a certificate that was obtained before cannot be used; another one will be", "domain", name, "dir", o.Dir, "err", err)
			}
		}
		s.acme.domains = append(s.acme.domains, d)
	}
	s.refresh()
	return s, nil
}

// useDir makes a directory for keys, or refuses one that others can write to: who replaces a key is this server to clients.
func useDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot be made: %w; name a directory that the server may write to", bare(err))
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("cannot be looked at: %w; name another", bare(err))
	case !info.IsDir():
		return errors.New("is not a directory; name one")
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("can be written by other users (mode %04o), and keys are kept there; chmod it to 0700 or name another", info.Mode().Perm())
	}
	f, err := os.CreateTemp(dir, ".ringcast-*")
	if err != nil {
		return fmt.Errorf("cannot be written to: %w; name a directory that the server may write to", bare(err))
	}
	f.Close()
	return os.Remove(f.Name())
}

// bare is an error without the name of the file, which the caller names.
func bare(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// again has every domain be tried at once.
func (a *authority) again() {
	for _, d := range a.domains {
		select {
		case d.poke <- struct{}{}:
		default: // it will be
		}
	}
}

// obtain sees to the certificate of a domain until ctx is done. autocert renews it in time by itself, so to ask again is mostly to look
// at what it has. A try that an operator has asked for, and that fails, leaves the one that was to come when it was.
func (s *Store) obtain(ctx context.Context, d *domain) {
	retry, asked := retryMin, false
	var next time.Time // when it is tried again
	for {
		select {
		case s.acme.places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if s.acme.hasFailed(d) {
			s.acme.forget(d)
		}
		got, err := d.manager.Load().GetCertificate(helloFor(d.name))
		<-s.acme.places
		if ctx.Err() != nil {
			return
		}
		switch now := time.Now(); {
		case err == nil:
			retry, next = retryMin, now.Add(lookEvery)
		case !asked || !next.After(now):
			next, retry = now.Add(retry), min(2*retry, retryMax)
		}
		s.obtained(d, got, err, next)
		select {
		case <-time.After(time.Until(next)):
			asked = false
		case <-d.poke:
			asked = true
		case <-ctx.Done():
			return
		}
	}
}

// hasFailed says whether a domain's last try has brought nothing.
func (a *authority) hasFailed(d *domain) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !d.next.IsZero()
}

// forget gives a domain whose last try has failed a manager of its own: the one before answers with that failure for a minute, and does
// not try. It has nothing else of the domain, and the account is in the directory.
func (a *authority) forget(d *domain) {
	m := a.fresh()
	if a.byHTTP {
		m.HTTPHandler(nil) // from then on it asks for such challenges
	}
	d.manager.Store(m)
}

// obtained is what a try has brought.
func (s *Store) obtained(d *domain, got *tls.Certificate, err error, next time.Time) {
	s.acme.mu.Lock()
	defer s.acme.mu.Unlock()
	if d.next = next; err == nil {
		d.next = time.Time{}
	}
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "acme/autocert: ")
		_ = s.acme.reasons.trouble() // the error has it
		if theirs := s.acme.reasons.take(d.name); theirs != "" {
			why = theirs
		}
		s.failed.Add(1)
		d.failure = s.acme.told(why)
		s.log.Warn("a certificate could not be obtained", "domain", d.name, "again_in", time.Until(next).Round(time.Second).String(), "err", d.failure)
		return
	}
	c := &certificate{tls: got, leaf: got.Leaf, names: []string{d.name}}
	if c.leaf == nil {
		return
	}
	if d.has != nil && d.has.same(c) { // autocert tries to renew it by itself, and says nothing of a failure
		why := s.acme.reasons.take(d.name)
		if why == "" && c.warning(s.now(), "") != "" {
			why = s.acme.reasons.trouble()
		}
		if why != "" {
			s.failed.Add(1)
			d.failure = s.acme.told(why)
			s.log.Warn("a certificate could not be renewed; it is tried again within the hour", "domain", d.name, "until", c.leaf.NotAfter, "err", d.failure)
		}
		return
	}
	d.has, d.failure = c, ""
	_, _ = s.acme.reasons.take(d.name), s.acme.reasons.trouble() // what failed before it did not
	s.refresh()
	s.log.Info("a certificate has been obtained", "domain", d.name, "until", c.leaf.NotAfter)
}

// refresh has what domains have be in force. The caller has the lock, or nobody else has the store.
func (s *Store) refresh() {
	var all []*certificate
	for _, d := range s.acme.domains {
		if d.has != nil {
			all = append(all, d.has)
		}
	}
	s.inForce.Store(newSet(all))
}

// told is why something has failed, with the server that it was asked of.
func (a *authority) told(why string) string {
	if strings.Contains(why, "certificate signed by unknown authority") {
		why += "; if that server is one of your own, name a file with the certificate of who made its, with --acme-ca"
	}
	return "ACME server " + a.host + ": " + why
}

// helloFor is what a client of today says, by which autocert chooses the kind of the key.
func helloFor(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// isChallenge says whether a hello is an authority's challenge (RFC 8737 §3).
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol
}

// named is the domain with a name; nil: there is none.
func (a *authority) named(name string) *domain {
	for _, d := range a.domains {
		if strings.EqualFold(d.name, name) {
			return d
		}
	}
	return nil
}

// challenge is the certificate that answers a challenge. For a strange name nothing is looked up.
func (a *authority) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if d := a.named(hello.ServerName); d != nil {
		return d.manager.Load().GetCertificate(hello)
	}
	return nil, nil
}

// handler is Store.HTTPHandler.
func (a *authority) handler(other http.Handler) http.Handler {
	a.byHTTP = true
	for _, d := range a.domains {
		d.manager.Load().HTTPHandler(nil)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, challengePrefix) {
			other.ServeHTTP(w, r)
			return
		}
		named := *r
		if host, _, err := net.SplitHostPort(r.Host); err == nil { // autocert compares names
			named.Host = host
		}
		d := a.named(named.Host)
		if d == nil {
			http.Error(w, "no certificate is obtained for this name here", http.StatusForbidden)
			return
		}
		d.manager.Load().HTTPHandler(nil).ServeHTTP(&tacit{ResponseWriter: w}, &named)
	})
}

// tacit is a ResponseWriter for autocert, whose texts about what it has not found are for its user, and not for strangers.
type tacit struct {
	http.ResponseWriter
	failed bool
}

// WriteHeader is part of http.ResponseWriter.
func (w *tacit) WriteHeader(status int) {
	if status != http.StatusOK && !w.failed {
		w.failed = true
		http.Error(w.ResponseWriter, "there is no such challenge here now", status)
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is part of http.ResponseWriter.
func (w *tacit) Write(p []byte) (int, error) {
	if w.failed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// status is Store.Status.
func (a *authority) status(now time.Time) (all []Certificate) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.domains {
		c := Certificate{Names: []string{d.name}}
		if d.has != nil {
			c = d.has.status(now)
			c.Warning = d.has.warning(now, "")
		} else {
			c.Warning = "There is no certificate for " + d.name + " yet, and clients that ask for it are refused"
			if d.failure != "" {
				c.Warning += ": " + strings.TrimSuffix(d.failure, ".")
			}
			c.Warning += "."
			if !d.next.IsZero() {
				c.Warning += " It is tried again at " + d.next.UTC().Format("15:04:05 MST") + ", or with a reload."
			}
		}
		c.Failure, c.NextTry = d.failure, d.next
		all = append(all, c)
	}
	return all
}
