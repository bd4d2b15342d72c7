package settings

import (
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/net/idna"

	"ringcast/certs"
	"ringcast/loop"
)

// tlsFlags are the flags of start for TLS in this process. Without --tls-listen none of them may be set. Which files have certificates,
// and --hsts, can change while the server runs.
type tlsFlags struct {
	TLSListen     []string `name:"tls-listen" placeholder:"ADDR,…" env:"RINGCAST_TLS_LISTEN" help:"Addresses where TLS is spoken (wss, https), as for --listen, such as :443; may be repeated. With it --listen may be off."`
	ACMEDomain    []string `name:"acme-domain" placeholder:"NAME,…" env:"RINGCAST_ACME_DOMAIN" help:"Host names for which certificates are obtained from an ACME server, Let's Encrypt unless --acme-directory says otherwise, and renewed; may be repeated. By it you accept the server's terms of service."`
	ACMEDir       string   `name:"acme-dir" placeholder:"DIR" env:"RINGCAST_ACME_DIR" help:"Directory where these certificates and their keys are kept, for the server alone and on a disk that lasts."`
	ACMEDirectory string   `name:"acme-directory" default:"https://acme-v02.api.letsencrypt.org/directory" placeholder:"URL" env:"RINGCAST_ACME_DIRECTORY" help:"Address of the ACME server's directory."`
	ACMECA        string   `name:"acme-ca" placeholder:"FILE" env:"RINGCAST_ACME_CA" help:"PEM file with the certificates of who may have made that of the ACME server, if it is one of your own."`
	ACMEEmail     string   `name:"acme-email" placeholder:"ADDRESS" env:"RINGCAST_ACME_EMAIL" help:"Where the ACME server may write to."`
	HTTPRedirect  string   `name:"http-redirect" default:"off" placeholder:"ADDR" env:"RINGCAST_HTTP_REDIRECT" help:"Address, mostly :80, where plain HTTP is sent to the same address with https, and where an ACME server's HTTP-01 challenges are answered; or off."`
	tlsChangeFlags
}

// tlsChangeFlags are those that a reload can change.
type tlsChangeFlags struct {
	TLSCert []string `name:"tls-cert" placeholder:"FILE,…" env:"RINGCAST_TLS_CERT" help:"PEM file with a certificate and those of who made it; may be repeated: the one is served whose names a client asks for, else the first. A file that changes is read again."`
	TLSKey  []string `name:"tls-key" placeholder:"FILE,…" env:"RINGCAST_TLS_KEY" help:"PEM file with the key of that certificate; as many, in the same order."`
	HSTS    string   `name:"hsts" default:"off" env:"RINGCAST_HSTS" help:"How long browsers that were here by TLS may come by nothing else (Strict-Transport-Security), such as 8760h; or off."`
}

// TLS is what they say of certificates; addresses are in Loop. The zero value: there are none.
type TLS struct {
	Pairs    []certs.Pair      // of files; none: the next has them
	ACME     certs.ACMEOptions // without domains: there are none
	Redirect string            // host:port where plain HTTP is sent away; empty: off

	g *Globals
}

// On says whether there is TLS.
func (t *TLS) On() bool { return len(t.Pairs)+len(t.ACME.Domains) > 0 }

// Wrong is a UsageError for what certs says of a file.
func (t *TLS) Wrong(err *certs.FileError) error {
	flag := "tls-cert"
	switch {
	case len(t.ACME.Domains) > 0 && err.Key:
		flag = "acme-dir"
	case len(t.ACME.Domains) > 0:
		flag = "acme-ca"
	case err.Key:
		flag = "tls-key"
	}
	return Usagef("--%s %q%s %v", flag, err.File, t.g.Origin(flag), err.Err)
}

// Bounds on what an operator may set.
const (
	hstsMin, hstsTop = time.Second, 10 * 365 * 24 * time.Hour
	hostBytesMax     = 253 // RFC 1035 §2.3.4, without the final dot
)

// tls reads the flags, when those of addresses have been read. The files are for others to read.
func (f *tlsFlags) tls(c *checker, s *Settings, listenOff bool) {
	s.Loop.TLSListen = c.tlsListens(f.TLSListen)
	certFiles, keyFiles := c.files("tls-cert", f.TLSCert), c.files("tls-key", f.TLSKey)
	domains := c.domains(f.ACMEDomain)
	s.HTTP.HSTS = max(c.durationOff("hsts", f.HSTS, hstsMin, hstsTop), 0)
	redirect := c.listenOff("http-redirect", f.HTTPRedirect)
	switch {
	case listenOff && len(s.Loop.TLSListen) == 0:
		c.wrong("listen", "off", "leaves no address where anybody could connect; name one with --tls-listen, or with --listen")
	case len(s.Loop.TLSListen) == 0:
		f.only(c)
		return
	}
	if n := len(s.Loop.Listen) + len(s.Loop.TLSListen); n > loop.ListenMax {
		c.wrong("tls-listen", strings.Join(f.TLSListen, ","), "names addresses of which there are %d with those of --listen; name at most %d together", n, loop.ListenMax)
	}
	for _, address := range s.Loop.TLSListen {
		for _, listen := range s.Loop.Listen {
			if address == listen && !strings.HasSuffix(address, ":0") {
				c.wrong("tls-listen", address, "is an address of --listen too, where TLS is not spoken; name another, or set --listen off")
			}
			c.portOfItsOwn("tls-listen", address, "listen", listen)
		}
		c.portOfItsOwn("tls-listen", address, "admin", s.Admin)
		c.portOfItsOwn("tls-listen", address, "channel", s.Channel.Listen)
		c.portOfItsOwn("http-redirect", redirect, "tls-listen", address)
	}
	for _, listen := range s.Loop.Listen {
		c.portOfItsOwn("http-redirect", redirect, "listen", listen)
	}
	c.portOfItsOwn("http-redirect", redirect, "admin", s.Admin)
	c.portOfItsOwn("http-redirect", redirect, "channel", s.Channel.Listen)
	switch {
	case len(certFiles)+len(keyFiles) > 0 && len(domains) > 0:
		c.wrong("acme-domain", strings.Join(f.ACMEDomain, ","), "does not go together with --tls-cert: certificates are either in files or obtained; leave one of them off")
	case len(certFiles)+len(keyFiles)+len(domains) == 0:
		c.wrong("tls-listen", strings.Join(f.TLSListen, ","), "needs a certificate; name its files with --tls-cert and --tls-key, or a host name with --acme-domain and --acme-dir")
	case len(keyFiles) == 0 && len(domains) == 0:
		c.wrong("tls-cert", strings.Join(f.TLSCert, ","), "comes without its key; name the file of the key with --tls-key")
	case len(certFiles) == 0 && len(domains) == 0:
		c.wrong("tls-key", strings.Join(f.TLSKey, ","), "comes without its certificate; name the file of the certificate with --tls-cert")
	case len(certFiles) != len(keyFiles):
		c.wrong("tls-key", strings.Join(f.TLSKey, ","), "names %s, and --tls-cert %d; name the key of each certificate, in the same order", filesText(len(keyFiles)), len(certFiles))
	case len(certFiles) > certs.PairsMax:
		c.wrong("tls-cert", strings.Join(f.TLSCert, ","), "names %d files; name at most %d", len(certFiles), certs.PairsMax)
	}
	if len(domains) > 0 {
		s.TLS.ACME = f.acme(c, domains)
	} else {
		f.acmeAlone(c, "name the host with --acme-domain, or leave it off")
	}
	for i := range min(len(certFiles), len(keyFiles)) {
		s.TLS.Pairs = append(s.TLS.Pairs, certs.Pair{CertFile: certFiles[i], KeyFile: keyFiles[i]})
	}
	s.TLS.Redirect, s.TLS.g = redirect, c.g
}

func filesText(n int) string {
	if n == 1 {
		return "1 file"
	}
	return strconv.Itoa(n) + " files"
}

// only refuses every flag that has no meaning without --tls-listen.
func (f *tlsFlags) only(c *checker) {
	eachFlag(reflect.ValueOf(*f), func(tag reflect.StructTag, value any) {
		name, text := tag.Get("name"), textOf(value)
		if text != tag.Get("default") && name != "tls-listen" {
			c.wrong(name, text, "has no meaning without TLS; name an address for it with --tls-listen, or leave it off")
		}
	})
}

// acmeAlone refuses flags of ACME where there is none.
func (f *tlsFlags) acmeAlone(c *checker, mend string) {
	eachFlag(reflect.ValueOf(*f), func(tag reflect.StructTag, value any) {
		name, text := tag.Get("name"), textOf(value)
		if strings.HasPrefix(name, "acme-") && name != "acme-domain" && text != tag.Get("default") {
			c.wrong(name, text, "has no meaning here: %s", mend)
		}
	})
}

// acme is how certificates are obtained.
func (f *tlsFlags) acme(c *checker, domains []string) certs.ACMEOptions {
	o := certs.ACMEOptions{Domains: domains, DirectoryURL: f.ACMEDirectory, Email: f.ACMEEmail}
	if f.ACMEDir == "" {
		c.wrong("acme-domain", strings.Join(f.ACMEDomain, ","), "needs a directory that outlives the server, as ACME servers make few certificates for one name; name one with --acme-dir")
	}
	o.Dir = c.file("acme-dir", f.ACMEDir)
	if f.ACMECA != "" {
		o.RootCAs = c.file("acme-ca", f.ACMECA)
	}
	if u, err := url.Parse(f.ACMEDirectory); err != nil || u.Scheme != "https" || u.Hostname() == "" {
		c.wrong("acme-directory", f.ACMEDirectory, "is not the https address of an ACME server's directory; write one such as %s", certs.LetsEncrypt)
	}
	if user, host, at := strings.Cut(f.ACMEEmail, "@"); f.ACMEEmail != "" && (!at || user == "" || !isHost(host) || host == "" || strings.ContainsAny(user, " ,<>:/")) {
		c.wrong("acme-email", f.ACMEEmail, "is not an address for mail; write one such as admin@example.org")
	}
	return o
}

// tlsListens is listens for a list that may be empty.
func (c *checker) tlsListens(values []string) []string {
	if text := strings.Trim(strings.Join(values, ""), " ,"); text == "" || text == "off" {
		return nil
	}
	return c.listens("tls-listen", values)
}

// files are names of files.
func (c *checker) files(flag string, values []string) (all []string) {
	for _, value := range values {
		if value = strings.TrimSpace(value); value != "" {
			all = append(all, c.file(flag, value))
		}
	}
	return all
}

// file is the name of a file, wherever it is used from now on. What stands in one may be a secret, and is not shown.
func (c *checker) file(flag, value string) string {
	switch {
	case strings.Contains(value, "-----BEGIN"):
		c.wrongSecret(flag, "", "is what stands in a file; name the file")
	case strings.ContainsRune(value, 0):
		c.wrong(flag, value, "is no name of a file; name one")
	case strings.HasPrefix(value, "~/"):
		return kong.ExpandPath(value)
	}
	return c.g.abs(value)
}

// domains are host names for which there can be certificates, in lower case.
func (c *checker) domains(values []string) (all []string) {
	const flag = "acme-domain"
	seen := map[string]bool{}
	for _, value := range values {
		name := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(value)), ".")
		_, ipErr := netip.ParseAddr(name)
		switch {
		case name == "":
			continue
		case strings.Contains(name, "*"):
			c.wrong(flag, value, "has a wildcard, which needs a challenge by DNS; name each host, or have another program obtain it and name its files with --tls-cert and --tls-key")
		case ipErr == nil:
			c.wrong(flag, value, "is an IP address; name a host")
		case strings.Contains(name, "://") || strings.ContainsAny(name, "/:@"):
			c.wrong(flag, value, "is more than a host name; leave off scheme, port and path")
		}
		if ascii, err := idna.New(idna.MapForLookup(), idna.Transitional(false)).ToASCII(name); err == nil && ascii != name && isHost(ascii) {
			c.wrong(flag, value, "is not in ASCII; write it as %s", ascii)
		}
		switch {
		case len(name) > hostBytesMax || !isHost(name) || !strings.Contains(strings.Trim(name, "."), ".") || strings.Contains(name, ".."):
			c.wrong(flag, value, "is no host name that is known on the internet; write one such as push.example.org")
		case seen[name]:
			c.wrong(flag, value, "is named twice; name it once")
		}
		seen[name], all = true, append(all, name)
	}
	if n := len(all); n > certs.DomainsMax {
		c.wrong(flag, strings.Join(values, ","), "names %d hosts; name at most %d", n, certs.DomainsMax)
	}
	return all
}

// isOff says whether a list of addresses is the word off.
func isOff(values []string) bool { return len(values) == 1 && strings.TrimSpace(values[0]) == "off" }

// adoptTLS takes over which files have certificates, where they are in files before and after, and what else can change.
func (s *Settings) adoptTLS(read *Settings) {
	if len(s.TLS.Pairs) > 0 && len(read.TLS.Pairs) > 0 {
		s.TLS.Pairs, s.typed.TLSCert, s.typed.TLSKey = read.TLS.Pairs, read.typed.TLSCert, read.typed.TLSKey
		s.TLS.g = read.TLS.g
	}
	s.typed.HSTS = read.typed.HSTS // its value is in HTTP
}
