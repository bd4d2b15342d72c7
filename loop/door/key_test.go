package door

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

func TestPublicKeysAreReadFromWhatToolsWrite(t *testing.T) {
	s := theSigners()
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&s.rsa.PublicKey)})
	template := &x509.Certificate{SerialNumber: big.NewInt(1)} // long over, which does not count
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.ed.Public(), s.ed)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for what, test := range map[string]struct {
		text []byte
		want int
	}{
		"RSA": {pemOf(t, &s.rsa.PublicKey), 1}, "PKCS 1": {pkcs1, 1}, "EC": {pemOf(t, &s.p521.PublicKey), 1}, "Ed25519": {pemOf(t, s.edPublic), 1}, "a certificate": {certificate, 1},
		"two, and text around them": {append(append([]byte("new:\r\n"), pkcs1...), pemOf(t, s.edPublic)...), 2},
	} {
		keys, err := ReadPublicKeys(test.text)
		if err != nil || len(keys) != test.want {
			t.Errorf("%s: got %d keys and %v, want %d", what, len(keys), err, test.want)
		} else if _, err := NewVerifier(TokenRules{PublicKeys: keys}); err != nil {
			t.Errorf("%s: got %v, want rules of it", what, err)
		}
	}
}

func TestAFileWithoutAPublicKeyIsNamedWithTheMend(t *testing.T) {
	s := theSigners()
	private, err := x509.MarshalPKCS8PrivateKey(s.p256)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	for want, text := range map[string][]byte{
		"has no public key": []byte("secret"), "has a private key": append(pemOf(t, s.edPublic), block("PRIVATE KEY", private)...), "that is no public key": block("DH PARAMETERS", private),
		"cannot be read": block("PUBLIC KEY", private), "1024 bits": pemOf(t, &s.rsaShort.PublicKey), "on a curve": pemOf(t, s.p224.Public()),
	} {
		if keys, err := ReadPublicKeys(text); err == nil || !strings.Contains(err.Error(), want) || bytes.Contains(text, []byte(err.Error())) {
			t.Errorf("got %d keys and %v, want an error with %q", len(keys), err, want)
		}
	}
}
