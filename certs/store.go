package certs

import (
	"context"
	"crypto/tls"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is what a server has of certificates. It is of files (Open), or of an authority (NewACME).
//
// Owner: any goroutine; files and texts have a lock.
type Store struct {
	log  *slog.Logger
	now  func() time.Time
	acme *authority // nil: it is of files

	inForce atomic.Pointer[set]
	failed  atomic.Uint64 // readings of files, and tries to obtain a certificate, that brought none

	mu    sync.Mutex
	files []*file // in the order in which they were named; of files only
	told  map[string]bool
}

// Options is what Open needs beside the files. The zero value of a field means its default.
type Options struct {
	Log *slog.Logger // default: discards

	now func() time.Time // tests have another clock
}

// PairsMax bounds the pairs of files: each is looked at every few seconds.
const PairsMax = 256

func newStore(log *slog.Logger, now func() time.Time) *Store {
	s := &Store{log: log, now: now, told: map[string]bool{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.inForce.Store(&set{})
	return s
}

// Open reads pairs of files, 1 to PairsMax. The first is for clients that name no server, or one for which there is none. An error is a
// FileError. A certificate that is expired, or not valid yet, is served all the same, and warned of: a server that is started again
// would else serve nothing.
func Open(pairs []Pair, o Options) (*Store, error) {
	s := newStore(o.Log, o.now)
	files, err := s.read(pairs)
	if err != nil {
		return nil, err
	}
	s.take(files)
	return s, nil
}

// Config is for a server whose handshakes are to have these certificates: TLS 1.2 and 1.3, Go's defaults, and what the authority's
// challenges need.
func (s *Store) Config() *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate}
	if s.acme != nil {
		cfg.NextProtos = []string{challengeProtocol}
	}
	return cfg
}

// HTTPHandler answers an authority's HTTP-01 challenges, and has everything else answered by another handler. Call it before Run.
func (s *Store) HTTPHandler(other http.Handler) http.Handler {
	if s.acme == nil {
		return other
	}
	return s.acme.handler(other)
}

// Run looks at the files every few seconds, and takes those that have changed; or sees to it that there is a certificate for each
// domain, and a new one in time. It tells the log of certificates that end soon. It returns when ctx is done.
func (s *Store) Run(ctx context.Context) {
	if s.acme != nil {
		var obtaining sync.WaitGroup
		defer obtaining.Wait()
		for _, d := range s.acme.domains {
			obtaining.Go(func() { s.obtain(ctx, d) })
		}
	}
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	for {
		s.tell()
		select {
		case <-again.C:
			s.look()
		case <-ctx.Done():
			return
		}
	}
}

// lookEvery is the time between two looks at the files. A pair is read when it has been the same at two looks, as a certificate and
// its key are not written at one moment.
const lookEvery = 3 * time.Second

// Reload reads the files of pairs, which may be others than before, all or none: after an error, a FileError, those in force stay. Of an
// authority it tries at once to obtain what is missing. renewed are files of certificates that have another one in them than before.
func (s *Store) Reload(pairs []Pair) (renewed []string, err error) {
	if s.acme != nil {
		s.acme.again()
		return nil, nil
	}
	defer s.tell() // without the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := s.read(pairs)
	if err != nil {
		s.failed.Add(1)
		return nil, err
	}
	for _, f := range files {
		if err := s.instead(f); err != nil {
			s.failed.Add(1)
			for _, old := range s.files {
				if old.Pair == f.Pair {
					old.inVain(f.read, err)
				}
			}
			return nil, &FileError{File: f.CertFile, Err: err}
		}
		for _, old := range s.files {
			if old.Pair == f.Pair && !f.has.same(old.has) {
				renewed = append(renewed, f.CertFile)
			}
		}
	}
	s.take(files)
	return renewed, nil
}

// None says that there is no certificate at all, as none was obtained yet: no TLS handshake can succeed.
func (s *Store) None() bool { return len(s.inForce.Load().all) == 0 }

// instead says why what was read of a pair may not be in force from now on: it is new and not good now, and what there is for the pair, or for
// one of its names, is. The caller has the lock.
func (s *Store) instead(f *file) error {
	if slices.ContainsFunc(s.files, func(old *file) bool { return f.has.same(old.has) }) {
		return nil
	}
	for _, old := range s.files {
		if old.Pair == f.Pair || slices.ContainsFunc(f.has.names, func(name string) bool { return slices.Contains(old.has.names, name) }) {
			if err := f.has.instead(old.has, s.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Failed counts readings of files, and tries to obtain a certificate, that brought none.
func (s *Store) Failed() uint64 { return s.failed.Load() }

// certificate is tls.Config.GetCertificate. It waits for nothing but, for a challenge, a small file.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil && isChallenge(hello) {
		return s.acme.challenge(hello)
	}
	c := s.inForce.Load().choose(hello)
	if c == nil {
		return nil, nil // crypto/tls says unrecognized_name then, and internal_error for any error
	}
	return c.tls, nil
}

// set is the certificates in force. Immutable.
type set struct {
	all []*certificate // the first is that of clients that name no server, or a strange one
	by  map[string][]*certificate
}

func newSet(all []*certificate) *set {
	s := &set{all: all, by: map[string][]*certificate{}}
	for _, c := range all {
		for _, name := range c.names {
			s.by[name] = append(s.by[name], c)
		}
	}
	return s
}

// choose is the certificate for a client: one with the very name that it asks for, else one with a wildcard for it (RFC 9525 §6.3), else
// the first. Of several the first that the client can check is taken, as one may be for those that know no elliptic curves. nil: there is none.
func (s *set) choose(hello *tls.ClientHelloInfo) *certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	good := s.by[name]
	if _, rest, has := strings.Cut(name, "."); len(good) == 0 && has {
		good = s.by["*."+rest]
	}
	if name == "" || len(good) == 0 {
		good = s.all
		if len(good) > 1 {
			good = s.sameAsFirst()
		}
	}
	for _, c := range good {
		if len(good) == 1 || hello.SupportsCertificate(c.tls) == nil {
			return c
		}
	}
	if len(good) > 0 {
		return good[0]
	}
	return nil
}

// sameAsFirst are the certificates with the first name of the first one, which may have keys of another kind.
func (s *set) sameAsFirst() []*certificate {
	if first := s.all[0]; len(first.names) > 0 {
		return s.by[first.names[0]]
	}
	return s.all[:1]
}

// Certificate is one of a Store's, for people.
type Certificate struct {
	Names    []string  `json:"names"`              // that it is good for
	NotAfter time.Time `json:"not_after,omitzero"` // absent: there is none yet
	Days     *int      `json:"days,omitempty"`     // until then, rounded down; less than 0: it has expired; absent: there is none yet
	File     string    `json:"file,omitempty"`     // absent: it is an authority's
	Failure  string    `json:"failure,omitempty"`  // why the last reading, or the last try, has brought none; absent: it has
	NextTry  time.Time `json:"next_try,omitzero"`  // when it is tried again to obtain one; absent: it is not, or within the hour
	Warning  string    `json:"-"`                  // a sentence for an operator; empty: all is well
}

// Status is what there is, in the order in which it was named.
func (s *Store) Status() (all []Certificate) {
	now := s.now()
	if s.acme != nil {
		return s.acme.status(now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		c := f.has.status(now)
		c.File, c.Failure = f.CertFile, f.failure
		c.Warning = f.has.warning(now, f.CertFile)
		all = append(all, c)
	}
	return all
}

// Warnings are sentences for an operator, at every start and reload.
func (s *Store) Warnings() (all []string) {
	for _, c := range s.Status() {
		if c.Warning != "" {
			all = append(all, c.Warning)
		}
		if c.Failure != "" && c.File != "" {
			all = append(all, "The new certificate in "+c.File+" is not used: "+c.Failure+" The one before it is served on.")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		all = append(all, f.hints...)
	}
	return all
}

// tell logs the warnings that were not logged yet: that of a certificate that ends soon once a day, as it has the days in it. What has
// failed is logged when it does.
func (s *Store) tell() {
	texts := map[string]bool{}
	for _, c := range s.Status() {
		if c.Warning != "" && !c.NotAfter.IsZero() { // that there is none is told by who tries
			texts[c.Warning] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		for _, hint := range f.hints {
			texts[hint] = true
		}
	}
	for _, text := range slices.Sorted(maps.Keys(texts)) {
		if !s.told[text] {
			s.log.Warn(text)
		}
	}
	s.told = texts
}
