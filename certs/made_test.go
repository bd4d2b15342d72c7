package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// noon is the time of these tests.
var noon = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// making is how a certificate is made; the zero value: for 90 days from yesterday on, with an ECDSA key, by itself.
type making struct {
	names       []string
	from, until time.Time
	rsa         bool
	uses        []x509.ExtKeyUsage
	issuerURL   string // where the certificate of who made it lies, as that of a public authority says
}

var serial atomic.Int64

// made makes a certificate and its key, both in PEM.
func made(t *testing.T, m making) (chain, key []byte) {
	t.Helper()
	if m.from.IsZero() {
		m.from = noon.Add(-day)
	}
	if m.until.IsZero() {
		m.until = m.from.Add(90 * day)
	}
	var signer crypto.Signer
	var err error
	if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); m.rsa {
		signer, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "test"}, NotBefore: m.from, NotAfter: m.until, DNSNames: m.names, ExtKeyUsage: m.uses}
	if m.issuerURL != "" {
		template.IssuingCertificateURL = []string{m.issuerURL}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(signer)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folder has pairs of files by a name.
type folder struct {
	t    *testing.T
	path string
}

func newFolder(t *testing.T) folder { return folder{t, t.TempDir()} }

func (f folder) pair(name string) Pair {
	return Pair{CertFile: filepath.Join(f.path, name+".pem"), KeyFile: filepath.Join(f.path, name+".key")}
}

// write writes a pair, by renaming, so that whoever reads it meanwhile reads whole files.
func (f folder) write(name string, m making) Pair {
	f.t.Helper()
	chain, key := made(f.t, m)
	return f.put(name, chain, key)
}

func (f folder) put(name string, chain, key []byte) Pair {
	f.t.Helper()
	p := f.pair(name)
	for file, text := range map[string][]byte{p.CertFile: chain, p.KeyFile: key} {
		must(f.t, os.WriteFile(file+".new", text, 0o600))
		must(f.t, os.Rename(file+".new", file))
	}
	return p
}

// opened is a store at noon, and what sets its clock.
func opened(t *testing.T, pairs ...Pair) (*Store, *atomic.Pointer[time.Time]) {
	t.Helper()
	clock := &atomic.Pointer[time.Time]{}
	at := noon
	clock.Store(&at)
	s, err := Open(pairs, Options{now: func() time.Time { return *clock.Load() }})
	must(t, err)
	return s, clock
}

func has(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want it to contain %q", what, got, want)
		}
	}
}

type x509Usage = x509.ExtKeyUsage

const clientAuth = x509.ExtKeyUsageClientAuth
