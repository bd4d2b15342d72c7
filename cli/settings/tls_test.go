package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/certs"
)

// withFiles and withACME are TLS with certificates in files, and from an ACME server. More may be added.
var (
	withFiles = slices.Clip([]string{"--tls-listen", ":8443", "--tls-cert", "a.pem", "--tls-key", "/etc/a.key"})
	withACME  = slices.Clip([]string{"--tls-listen", ":8443", "--acme-domain", "push.example.org", "--acme-dir", "acme"})
)

func TestCertificatesAreInFilesOrObtained(t *testing.T) {
	s, err := parse(t, append(withFiles, "--tls-cert", "b.pem,/c.pem", "--tls-key", "b.key", "--tls-key", "/c.key", "--hsts", "8760h", "--http-redirect", ":8080", "--listen", "off")...)
	want := []certs.Pair{{CertFile: "/start/a.pem", KeyFile: "/etc/a.key"}, {CertFile: "/start/b.pem", KeyFile: "/start/b.key"}, {CertFile: "/c.pem", KeyFile: "/c.key"}}
	if err != nil || !slices.Equal(s.TLS.Pairs, want) || len(s.Loop.Listen) != 0 || !slices.Equal(s.Loop.TLSListen, []string{":8443"}) ||
		s.HTTP.HSTS != 8760*time.Hour || s.TLS.Redirect != ":8080" || !s.TLS.On() {
		t.Errorf("files: got %+v, %v, want the pairs %v", s.TLS, err, want)
	}
	s, err = parse(t, append(withACME, "--acme-domain", "Other.Example.org.,x.example", "--acme-ca", "ca.pem", "--acme-email", "a@example.org", "--acme-directory", "https://localhost:14000/dir")...)
	o := certs.ACMEOptions{Domains: []string{"push.example.org", "other.example.org", "x.example"}, Dir: "/start/acme", RootCAs: "/start/ca.pem", Email: "a@example.org", DirectoryURL: "https://localhost:14000/dir"}
	if err != nil || !reflect.DeepEqual(s.TLS.ACME, o) || len(s.Loop.Listen) != 1 {
		t.Errorf("ACME: got %+v, %v, want %+v", s.TLS.ACME, err, o)
	}
	if s, err = parse(t, withACME...); err != nil || s.TLS.ACME.DirectoryURL != certs.LetsEncrypt || s.HTTP.HSTS != 0 || s.TLS.Redirect != "" {
		t.Errorf("by default: got %+v, %v, want Let's Encrypt, and no more", s.TLS, err)
	}
	if s, err = parseConfig(`{"listen": "off", "tls-listen": [":443", ":8443"], "tls-cert": ["a.pem", "b.pem"], "tls-key": ["a.key", "b.key"]}`); err != nil || len(s.TLS.Pairs) != 2 || len(s.Loop.TLSListen) != 2 {
		t.Errorf("config file: got %+v, %v, want two pairs and two addresses", s.TLS, err)
	}
	if s, err = parseConfig(`{"listen": false, "admin": false, "hsts": false, "http-redirect": false, "tls-listen": ":443", "tls-cert": "a.pem", "tls-key": "a.key"}`); err != nil || len(s.Loop.Listen) != 0 || s.Admin != "" || s.HTTP.HSTS != 0 || s.TLS.Redirect != "" {
		t.Errorf("false in the config file: got %+v, %v, want it to stand for off", s.TLS, err)
	}
	if s, err = parse(t, "--tls-listen", "off"); err != nil || s.TLS.On() {
		t.Errorf("off: got %+v, %v, want no TLS", s.TLS, err)
	}
}

func TestWithoutAnAddressForTLSNothingOfItMayBeSet(t *testing.T) {
	eachFlag(reflect.ValueOf(tlsFlags{}), func(tag reflect.StructTag, _ any) {
		name := tag.Get("name")
		value := map[string]string{"hsts": "1h", "http-redirect": ":80", "acme-domain": "a.example.org"}[name]
		if value == "" {
			value = "https://x.example"
		}
		if name != "tls-listen" {
			_, err := parse(t, "--"+name, value)
			refused(t, name, err, "--"+name, "name an address for it with --tls-listen, or leave it off")
		}
	})
}

func TestTLSThatMakesNoSenseIsRefusedWithTheMend(t *testing.T) {
	files := func(more ...string) []string { return append(withFiles, more...) }
	domains := func(more ...string) []string { return append(withACME, more...) }
	for _, c := range []struct {
		args  []string
		wants []string
	}{
		{[]string{"--listen", "off"}, []string{`--listen "off"`, "name one with --tls-listen"}},
		{[]string{"--listen", "off,:80"}, []string{`--listen "off"`, "write HOST:PORT"}},
		{[]string{"--tls-listen", ":8443"}, []string{"--tls-listen", "needs a certificate", "--tls-cert and --tls-key", "--acme-domain"}},
		{[]string{"--tls-listen", "https://a.example:443"}, []string{"--tls-listen", "has a scheme"}},
		{[]string{"--tls-listen", ":8443", "--tls-cert", "a.pem"}, []string{"--tls-cert \"a.pem\"", "name the file of the key with --tls-key"}},
		{[]string{"--tls-listen", ":8443", "--tls-key", "a.pem"}, []string{"--tls-key \"a.pem\"", "name the file of the certificate with --tls-cert"}},
		{files("--tls-cert", "b.pem"), []string{"names 1 file, and --tls-cert 2; name the key of each certificate, in the same order"}},
		{files("--tls-cert", strings.Repeat("b.pem,", certs.PairsMax), "--tls-key", strings.Repeat("b.key,", certs.PairsMax)), []string{"--tls-cert", "name at most 256"}},
		{files("--acme-domain", "a.example.org", "--acme-dir", "x"), []string{"--acme-domain", "leave one of them off"}},
		{files("--acme-dir", "x"), []string{"--acme-dir", "name the host with --acme-domain"}},
		{files("--acme-email", "a@b.example"), []string{"--acme-email", "name the host with --acme-domain"}},
		{files("--listen", ":8443"), []string{"--tls-listen", "is an address of --listen too, where TLS is not spoken", "set --listen off"}},
		{files("--listen", "127.0.0.1:8443"), []string{"--tls-listen", "has the port of --listen", "set --listen off"}},
		{files("--listen", "unix:/run/x", "--tls-listen", "unix:/run/x"), []string{"--tls-listen", "is an address of --listen too"}},
		{files("--admin", "127.0.0.1:8443"), []string{"--tls-listen", "has the port of --admin", "; name another port for one of the two"}},
		{files("--channel", "127.0.0.1:8443"), []string{"--tls-listen", "has the port of --channel"}},
		{files("--http-redirect", ":8443"), []string{"--http-redirect", "has the port of --tls-listen"}},
		{files("--http-redirect", ":1234"), []string{"--http-redirect", "has the port of --listen"}},
		{files("--http-redirect", "127.0.0.1:1235"), []string{"--http-redirect", "has the port of --admin"}},
		{files("--http-redirect", "80"), []string{"--http-redirect", "write :80"}},
		{files("--hsts", "365d"), []string{"--hsts", "write 8760h"}},
		{files("--http-redirect", "x"), []string{"--http-redirect", "write HOST:PORT"}},
		{files("--hsts", "1"), []string{"--hsts", "write 1s for seconds"}},
		{files("--hsts", "100ms"), []string{"--hsts", "write a duration from 1s to 87600h, or off"}},
		{files("--tls-listen", strings.Join(strings.Split(strings.Repeat("127.0.0.1:0 ", 16), " "), ",")), []string{"--tls-listen", "name at most 16"}},
		{[]string{"--tls-listen", ":8443", "--tls-cert=-----BEGIN CERTIFICATE-----", "--tls-key", "x"}, []string{"--tls-cert", "name the file"}},
		{[]string{"--tls-listen", ":8443", "--acme-domain", "a.example.org"}, []string{"--acme-domain", "name one with --acme-dir"}},
		{domains("--acme-domain", "*.example.org"), []string{"--acme-domain", "has a wildcard", "--tls-cert"}},
		{domains("--acme-domain", "192.0.2.1"), []string{"--acme-domain", "is an IP address"}},
		{domains("--acme-domain", "https://a.example.org"), []string{"--acme-domain", "leave off scheme"}},
		{domains("--acme-domain", "a.example.org:443"), []string{"--acme-domain", "leave off scheme, port and path"}},
		{domains("--acme-domain", "localhost"), []string{"--acme-domain", "is no host name that is known on the internet"}},
		{domains("--acme-domain", "bücher.example"), []string{"--acme-domain", "write it as xn--bcher-kva.example"}},
		{domains("--acme-domain", "PUSH.example.org"), []string{"--acme-domain", "is named twice"}},
		{domains("--acme-domain", strings.Repeat("a.", 150)+"example"), []string{"--acme-domain", "is no host name"}},
		{domains("--acme-domain", manyDomains(certs.DomainsMax)), []string{"--acme-domain", "name at most 100"}},
		{domains("--acme-directory", "http://a.example/"), []string{"--acme-directory", "is not the https address"}},
		{domains("--acme-directory", "a.example"), []string{"--acme-directory", certs.LetsEncrypt}},
		{domains("--acme-email", "me"), []string{"--acme-email", "is not an address for mail"}},
		{domains("--cluster-name", "c", "--cluster-node", "n", "--store-dir", "s", "--cluster-listen", "127.0.0.1:8443", "--cluster-peers", "127.0.0.1:8443,127.0.0.1:2,127.0.0.1:3"), []string{"--cluster-listen", "has the port of --tls-listen"}},
	} {
		_, err := parse(t, c.args...)
		refused(t, fmt.Sprintf("%.200q", c.args), err, c.wants...)
	}
	if _, err := parse(t, files("--tls-key", "-----BEGIN PRIVATE KEY-----\nMIIC")...); err == nil || strings.Contains(err.Error(), "MIIC") {
		t.Errorf("a key in place of its file: got %v, want an error that does not show it", err)
	}
}

func manyDomains(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("d%d.example.org", i))
	}
	return strings.Join(all, ",")
}

func TestWrongFilesOfTLSAreNamedAsTheyWereSet(t *testing.T) {
	s, err := world{environ: []string{"RINGCAST_TLS_KEY=a.key"}}.parse("--tls-listen", ":8443", "--tls-cert", "a.pem")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "key", s.TLS.Wrong(&certs.FileError{File: "/start/a.key", Key: true, Err: fmt.Errorf("is encrypted")}), `--tls-key "/start/a.key" (from RINGCAST_TLS_KEY) is encrypted`)
	refused(t, "certificate", s.TLS.Wrong(&certs.FileError{File: "/start/a.pem", Err: fmt.Errorf("is empty")}), `--tls-cert "/start/a.pem" is empty`)
	if s, err = parse(t, withACME...); err != nil {
		t.Fatal(err)
	}
	refused(t, "directory", s.TLS.Wrong(&certs.FileError{File: "/start/acme", Key: true, Err: fmt.Errorf("is full")}), `--acme-dir "/start/acme" is full`)
	refused(t, "roots", s.TLS.Wrong(&certs.FileError{File: "/x", Err: fmt.Errorf("is empty")}), `--acme-ca "/x" is empty`)
}

func TestAReloadTakesOtherFilesButNoOtherKindOfCertificates(t *testing.T) {
	a, err := parse(t, append(withFiles, "--hsts", "1h")...)
	if err != nil {
		t.Fatal(err)
	}
	b, err := parse(t, "--tls-listen", ":8443", "--tls-cert", "b.pem", "--tls-key", "b.key", "--http-redirect", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	next, changed, rest := a.Adopt(&b)
	if fmt.Sprint(changed) != "[tls-cert: a.pem → b.pem tls-key: /etc/a.key → b.key hsts: 1h → off]" || fmt.Sprint(rest) != "[http-redirect]" || next.TLS.Pairs[0].CertFile != "/start/b.pem" || next.HTTP.HSTS != 0 || next.TLS.Redirect != "" {
		t.Errorf("other files: got %v, %v and %+v, want the files and hsts taken over, and that http-redirect needs a restart", changed, rest, next.TLS)
	}
	c, err := parse(t, withACME...)
	if err != nil {
		t.Fatal(err)
	}
	next, changed, rest = a.Adopt(&c)
	if fmt.Sprint(changed) != "[hsts: 1h → off]" || fmt.Sprint(rest) != "[acme-domain acme-dir tls-cert tls-key]" || len(next.TLS.Pairs) != 1 {
		t.Errorf("ACME in place of files: got %v, %v and %+v, want that it needs a restart", changed, rest, next.TLS)
	}
}
