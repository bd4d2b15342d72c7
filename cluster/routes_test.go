package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificates makes an authority and a certificate of it for 127.0.0.1.
func certificates(t *testing.T) TLS {
	t.Helper()
	folder := t.TempDir()
	write := func(name, kind string, der []byte) string {
		at := filepath.Join(folder, name)
		if err := os.WriteFile(at, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, &key.PublicKey, key)
	must(err)
	of := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	ofDER, err := x509.CreateCertificate(rand.Reader, of, authority, &key.PublicKey, key)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	must(err)
	return TLS{Cert: write("cert.pem", "CERTIFICATE", ofDER), Key: write("key.pem", "EC PRIVATE KEY", keyDER), CA: write("ca.pem", "CERTIFICATE", authorityDER)}
}

func TestNodesShowEachOtherWhoTheyAre(t *testing.T) {
	t.Parallel()
	configs, files := threeConfigs(t), certificates(t)
	for i := range configs {
		configs[i].TLS, configs[i].Replicas, configs[i].Wait = files, 1, 20*time.Second
		configs[i].Peers = configs[i].Peers[:2]
	}
	stranger := configs[2]
	configs = configs[:2] // two nodes, both of which must be there
	nodes := startAll(t, configs, nil)
	for text, is := range sayAll(t, nodes, "first", 20, nil) {
		if is[:2] != "ok" {
			t.Errorf("%q: got %q, want ok", text, is)
		}
	}
	agree(t, nodes)

	// Who has another token, or a certificate of another authority, is not let in.
	for _, is := range []func(*Config){
		func(c *Config) { c.Token = "another" },
		func(c *Config) { c.TLS = certificates(t) },
	} {
		config := stranger
		config.StoreDir = t.TempDir()
		is(&config)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		f := newFakeHomes(t)
		c, err := open(ctx, config, f, f, nil)
		cancel()
		if err == nil {
			c.Close()
			t.Error("a stranger: got let in, want that it waits in vain")
		}
	}
	if peers := nodes[0].server.NumRoutes(); peers == 0 {
		t.Error("routes between the two: got none")
	}
}
