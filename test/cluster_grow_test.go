package test

import (
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
	"slices"
	"strings"
	"testing"
	"time"
)

// What an operator does to a cluster beside restarting it: adding nodes, going back to a copy, encryption between nodes.

// Three nodes become five: the new ones are started, and the old ones restarted with the longer list, while all go on.
func TestFaultClusterNodesAreAdded(t *testing.T) {
	fault(t)
	if size(true, false) {
		t.Skip("at full size only, with FAULTS=full")
	}
	five := makeCluster(t, clustering{nodes: 5})
	three := &cluster{t: t, name: five.name, wait: five.wait, nodes: five.nodes[:clusterNodes]}
	var all, some []string
	for _, n := range five.nodes {
		if all = append(all, n.routes); n.i < clusterNodes {
			some = append(some, n.routes)
		}
	}
	for _, n := range three.nodes {
		at := slices.Index(n.args, strings.Join(all, ","))
		n.args[at] = strings.Join(some, ",")
		n.launch()
	}
	three.ready(t, three.nodes...)
	p := three.startPlay(t, playing{})
	for _, n := range five.nodes[clusterNodes:] {
		n.comeBack(t)
		p.goOn()
	}
	for _, n := range three.nodes {
		n.stop(t)
		n.args[slices.Index(n.args, strings.Join(some, ","))] = strings.Join(all, ",")
		n.comeBack(t)
		p.goOn()
	}
	p.finish()
	p = five.startPlay(t, playing{name: "five "})
	victim := five.leader(t)
	victim.kill(t)
	p.goOn()
	victim.comeBack(t)
	p.goOn()
	p.finish()
}

// Copies are made while all nodes are stopped: of stores of different moments nodes would not agree. All that was said before is there when nodes
// begin from them, and nothing else.
func backupIsGivenBack(t *testing.T, c *cluster) {
	p := c.startPlay(t, playing{})
	copies := t.TempDir()
	stopAll(t, c)
	for _, n := range c.nodes {
		must(t, os.CopyFS(filepath.Join(copies, n.name()), os.DirFS(n.store)))
		n.launch()
	}
	c.ready(t, c.nodes...)
	before := make([]hearing, len(p.groups))
	for i, g := range p.groups {
		before[i] = c.nodes[0].history(t, g) // publishers have gone on, so this may be more than was copied
	}
	p.goOn()
	p.finish()
	for _, n := range c.nodes {
		n.kill(t)
	}
	for _, n := range c.nodes {
		must(t, os.RemoveAll(n.store))
		must(t, os.CopyFS(n.store, os.DirFS(filepath.Join(copies, n.name()))))
		n.launch()
	}
	c.ready(t, c.nodes...)
	for i, g := range p.groups {
		var first []heard
		for _, n := range c.nodes {
			after := n.history(t, g).heard
			many := min(len(after), len(before[i].heard))
			if many == 0 || !slices.Equal(after[:many], before[i].heard[:many]) {
				t.Errorf("%s: the history on %s has %d messages, want them to be the first of the %d of before", g.name, n.name(), len(after), len(before[i].heard))
			}
			if first == nil {
				first = after
			}
			if !slices.Equal(first, after) {
				t.Errorf("%s: the history on %s is another than on %s", g.name, n.name(), c.nodes[0].name())
			}
		}
	}
	p = c.startPlay(t, playing{name: "after "})
	p.goOn()
	p.finish()
}

// Nodes show each other certificates; one that has none is no node.
func TestFaultClusterWithTLSBetweenNodes(t *testing.T) {
	fault(t)
	if size(true, false) {
		t.Skip("at full size only, with FAULTS=full")
	}
	c := makeCluster(t, clustering{})
	host, _, err := net.SplitHostPort(c.nodes[0].routes)
	must(t, err)
	dir := t.TempDir()
	ca, key := authority(t)
	writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", ca.Raw)
	for _, n := range c.nodes {
		cert, itsKey := certificate(t, ca, key, host)
		crt, priv := filepath.Join(dir, n.name()+".pem"), filepath.Join(dir, n.name()+".key")
		writePEM(t, crt, "CERTIFICATE", cert)
		writePEM(t, priv, "PRIVATE KEY", itsKey)
		n.args = append(n.args, "--cluster-tls-cert", crt, "--cluster-tls-key", priv, "--cluster-tls-ca", filepath.Join(dir, "ca.pem"))
	}
	for _, n := range c.nodes {
		n.launch()
	}
	c.ready(t, c.nodes...)
	p := c.startPlay(t, playing{})
	victim := c.leader(t)
	victim.kill(t)
	p.goOn()
	victim.comeBack(t)
	p.goOn()
	p.finish()
}

func authority(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ringcast nodes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	raw, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	must(t, err)
	ca, err := x509.ParseCertificate(raw)
	must(t, err)
	return ca, key
}

func certificate(t *testing.T, ca *x509.Certificate, by *ecdsa.PrivateKey, host string) (cert, key []byte) {
	t.Helper()
	its, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	about := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	cert, err = x509.CreateCertificate(rand.Reader, about, ca, &its.PublicKey, by)
	must(t, err)
	key, err = x509.MarshalPKCS8PrivateKey(its)
	must(t, err)
	return cert, key
}

func writePEM(t *testing.T, name, kind string, raw []byte) {
	t.Helper()
	must(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600))
}
