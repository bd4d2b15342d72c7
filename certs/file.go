package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Pair names two files in PEM: a certificate, followed by those of who made it, and its key.
type Pair struct{ CertFile, KeyFile string }

// FileError is what is wrong with a file, and how to mend it.
type FileError struct {
	File string
	Key  bool // it is that of a key
	Err  error
}

// Error has the file's name.
func (e *FileError) Error() string { return e.File + " " + e.Err.Error() }

// Unwrap is what is wrong.
func (e *FileError) Unwrap() error { return e.Err }

// fileBytesMax bounds a file: a chain of certificates has a few KB, and a wrong path must not fill the memory.
const fileBytesMax = 256 << 10

// file is a pair of files that is in force.
//
// Owner: the lock of its Store.
type file struct {
	Pair
	has     *certificate
	read    stamp    // when it was read last
	seen    stamp    // at the last look
	vain    stamp    // when it was read in vain
	failure string   // why the last reading brought nothing; empty: it has
	hints   []string // what an operator should see of the files themselves
}

// stamp is by what it is known that files have changed; a nil one: it cannot be looked at.
type stamp struct{ cert, key fs.FileInfo }

func (p Pair) stamp() (s stamp) {
	s.cert, _ = os.Stat(p.CertFile)
	s.key, _ = os.Stat(p.KeyFile)
	return s
}

func (s stamp) same(other stamp) bool {
	same := func(a, b fs.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	}
	return same(s.cert, other.cert) && same(s.key, other.key)
}

// read reads all files of pairs. What is wrong is noted of a pair that is in force.
func (s *Store) read(pairs []Pair) (files []*file, err error) {
	for _, p := range pairs {
		f, at := &file{Pair: p}, p.stamp()
		if err := f.readAnew(); err != nil {
			for _, old := range s.files {
				if old.Pair == p {
					old.inVain(at, errors.Unwrap(err))
				}
			}
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// inVain notes that files were read, as they were at a stamp, and are not used. again: that was told before.
func (f *file) inVain(at stamp, err error) (again bool) {
	text := err.Error() + "."
	again = f.failure == text && at.same(f.vain)
	f.vain, f.failure = at, text
	return again
}

// take has files be in force.
func (s *Store) take(files []*file) {
	s.files = files
	all := make([]*certificate, 0, len(files))
	for _, f := range files {
		all = append(all, f.has)
	}
	s.inForce.Store(newSet(all))
}

// look reads the files that have changed, each pair for itself: a wrong one keeps no other from being renewed.
func (s *Store) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, f := range s.files {
		now := f.stamp()
		if now.same(f.read) {
			f.seen, f.failure = now, ""
			continue
		}
		if !now.same(f.seen) { // it is being written
			f.seen = now
			continue
		}
		before, old := *f, f.has
		err := f.readAnew()
		if err == nil {
			if err = f.has.instead(old, s.now()); err != nil {
				err = &FileError{File: f.CertFile, Err: err}
			}
		}
		if err != nil { // it is tried at each look: descriptors were short, rights came later, or its time has not come; it is told once
			*f = before
			if f.inVain(now, errors.Unwrap(err)) {
				continue
			}
			s.failed.Add(1)
			s.log.Warn("a new certificate is not used; the one before it is served on", "file", f.CertFile, "err", err)
			continue
		}
		if f.failure = ""; !f.has.same(old) {
			changed = true
			s.log.Info("a certificate has been read again", "file", f.CertFile, "names", f.has.names, "until", f.has.leaf.NotAfter)
		}
	}
	if changed {
		s.take(s.files)
	}
}

// readAnew reads the pair.
func (f *file) readAnew() error {
	at := f.stamp() // before the contents: what changes meanwhile is read once more
	chain, err := readFile(f.CertFile)
	if err != nil {
		return &FileError{File: f.CertFile, Err: err}
	}
	key, err := readFile(f.KeyFile)
	if err != nil {
		return &FileError{File: f.KeyFile, Key: true, Err: err}
	}
	if err := checkKey(key); err != nil {
		return &FileError{File: f.KeyFile, Key: true, Err: err}
	}
	if err := checkChain(chain); err != nil {
		return &FileError{File: f.CertFile, Err: err}
	}
	c, err := newCertificate(chain, key)
	if err != nil {
		return &FileError{File: f.CertFile, Err: fmt.Errorf("cannot be used with the key in %s: %w", f.KeyFile, err)}
	}
	f.has, f.read, f.seen = c, at, at
	f.hints = c.hints(f.CertFile)
	if at.key != nil && at.key.Mode().Perm()&0o004 != 0 {
		f.hints = append(f.hints, fmt.Sprintf("The key in %s can be read by every user of this machine (mode %04o); chmod it to 0600.", f.KeyFile, at.key.Mode().Perm()))
	}
	return nil
}

// readFile reads a file within its bound. Its error says how to mend it, and does not name the file.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("is a directory; name a file in PEM in it")
	}
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("has more than %d KiB; name a file in PEM with a certificate, or a key, and no more", fileBytesMax>>10)
	}
	return text, nil
}

func unreadable(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return fmt.Errorf("cannot be read: %w; name a file that can be read", err)
}

// checkKey tells the common mistakes with files of keys apart, which crypto/tls has one text for.
func checkKey(text []byte) error {
	var kinds []string
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return errors.New("is encrypted, and there is nobody to type its passphrase; write it without one (openssl pkey -in FILE -out NEW), readable for the server alone")
		}
		kinds = append(kinds, block.Type)
	}
	switch {
	case len(text) == 0:
		return errors.New("is empty; name the file with the key")
	case len(kinds) == 0:
		return errors.New("is not in PEM; name the file with the key, which begins with -----BEGIN PRIVATE KEY-----")
	case !slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasSuffix(kind, "PRIVATE KEY") }):
		return fmt.Errorf("has no private key in it, but %s; name the file with the key", strings.ToLower(kinds[0]))
	}
	return nil
}

// checkChain is checkKey for files of certificates.
func checkChain(text []byte) error {
	block, rest := pem.Decode(text)
	switch {
	case len(text) == 0:
		return errors.New("is empty; name the file with the certificate")
	case block == nil:
		return errors.New("is not in PEM; name the file with the certificate, which begins with -----BEGIN CERTIFICATE-----")
	}
	for kind := block.Type; block.Type != "CERTIFICATE"; {
		if block, rest = pem.Decode(rest); block == nil {
			return fmt.Errorf("has no certificate in it, but %s; name the file with the certificate", strings.ToLower(kind))
		}
	}
	return nil
}

// placeOf is which certificate of a chain a key is for, 1 for the first; 0: it is for none.
func placeOf(chain, key []byte) int {
	place := 0
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		place++
		if _, err := tls.X509KeyPair(pem.EncodeToMemory(block), key); err == nil {
			return place
		}
	}
	return 0
}

// certificate is one that can be served. Immutable.
type certificate struct {
	tls   *tls.Certificate
	leaf  *x509.Certificate
	names []string // in lower case; a wildcard with its star
}

// newCertificate makes one of a chain and a key, both in PEM.
func newCertificate(chain, key []byte) (*certificate, error) {
	pair, err := tls.X509KeyPair(chain, key)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "private key does not match"), strings.Contains(err.Error(), "private key type does not match"):
		if place := placeOf(chain, key); place > 1 {
			return nil, fmt.Errorf("the key is that of certificate %d of the file; put it first, and behind it those of who made it", place)
		}
		return nil, errors.New("the two do not belong together; name a certificate and its own key")
	default:
		return nil, fmt.Errorf("%s; name a certificate and its key, both in PEM", strings.TrimPrefix(err.Error(), "tls: "))
	}
	c := &certificate{tls: &pair, leaf: pair.Leaf}
	if c.leaf == nil { // GODEBUG=x509keypairleaf=0
		if c.leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
		pair.Leaf = c.leaf
	}
	for _, name := range c.leaf.DNSNames {
		c.names = append(c.names, strings.ToLower(name))
	}
	for _, ip := range c.leaf.IPAddresses {
		c.names = append(c.names, ip.String())
	}
	if uses := c.leaf.ExtKeyUsage; len(uses) > 0 && !slices.Contains(uses, x509.ExtKeyUsageServerAuth) && !slices.Contains(uses, x509.ExtKeyUsageAny) {
		return nil, errors.New("the certificate is not for servers (extended key usage); have one made that is")
	}
	return c, nil
}

// same says whether two are the same, byte by byte.
func (c *certificate) same(other *certificate) bool {
	return slices.EqualFunc(c.tls.Certificate, other.tls.Certificate, bytes.Equal)
}

// bad says why a certificate is not good now; empty: it is.
func (c *certificate) bad(now time.Time) string {
	switch {
	case now.After(c.leaf.NotAfter):
		return "has expired on " + dateText(c.leaf.NotAfter)
	case now.Before(c.leaf.NotBefore):
		return "is not valid before " + dateText(c.leaf.NotBefore)
	}
	return ""
}

func dateText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// instead says why a certificate may not take the place of another: that one is good now, and this one is not.
func (c *certificate) instead(old *certificate, now time.Time) error {
	if why := c.bad(now); why != "" && old.bad(now) == "" {
		return fmt.Errorf("%s, and the certificate before it has not; write a new one there, and check the machine's clock", why)
	}
	return nil
}

const (
	soonMax  = 14 * 24 * time.Hour // before its end a certificate is warned of
	soonPart = 4                   // or, where that is less, in the last so-manieth part of its life: some live for six days
)

// warning is a sentence for an operator; empty: all is well. file is where it is from; empty: from an authority.
func (c *certificate) warning(now time.Time, file string) string {
	who := "The certificate for " + c.nameText()
	mend := "have a new one written there"
	if file != "" {
		who += " (" + file + ")"
	} else {
		mend = "the ACME server has not renewed it, and status and the log say why"
	}
	left := c.leaf.NotAfter.Sub(now)
	switch why := c.bad(now); {
	case why != "":
		return who + " " + why + ", and clients refuse it; " + mend + "."
	case left < min(soonMax, c.leaf.NotAfter.Sub(c.leaf.NotBefore)/soonPart):
		return fmt.Sprintf("%s expires in %s, on %s; %s.", who, leftText(left), dateText(c.leaf.NotAfter), mend)
	}
	return ""
}

// leftText is a time in whole days, or in hours or minutes where it is less than two.
func leftText(left time.Duration) string {
	switch {
	case left < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(left/time.Minute))
	case left < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(left/time.Hour))
	}
	return fmt.Sprintf("%d days", int(left/(24*time.Hour)))
}

func (c *certificate) nameText() string {
	if len(c.names) == 0 {
		return "no name at all"
	}
	return c.names[0]
}

// hints are what is likely to be a mistake in a certificate that can be served.
func (c *certificate) hints(file string) (all []string) {
	if len(c.names) == 0 {
		all = append(all, "The certificate in "+file+" names no host as a subject alternative name, and clients look nowhere else; have one made that does.")
	}
	if len(c.tls.Certificate) == 1 && len(c.leaf.IssuingCertificateURL) > 0 {
		all = append(all, "There is one certificate in "+file+" alone, without those of who made it, and some clients will not trust it; name the file with the whole chain, such as fullchain.pem.")
	}
	return all
}

// status is what is known of a certificate.
func (c *certificate) status(now time.Time) Certificate {
	days := c.leaf.NotAfter.Sub(now).Hours() / 24
	if days < 0 {
		days-- // rounded down
	}
	whole := int(days)
	return Certificate{Names: c.names, NotAfter: c.leaf.NotAfter, Days: &whole}
}
