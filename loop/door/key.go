package door

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// publicKey is a public key and the algorithms that it is for (RFC 7518 §3, RFC 8037). Immutable.
type publicKey struct {
	id      string // kid; empty: it has none
	public  any    // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	methods []jwt.SigningMethod
}

// Moduli of RSA keys, in bits. Shorter ones are broken (RFC 7518 §3.3), longer ones would take a loop's time.
const (
	rsaBitsMin = 2048
	rsaBitsMax = 8192
)

// newPublicKey fixes the algorithms of a key by its kind: a key on an elliptic curve is for the one algorithm of its curve.
func newPublicKey(public any) (publicKey, error) {
	key := publicKey{public: public}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < rsaBitsMin || bits > rsaBitsMax {
			return key, fmt.Errorf("an RSA key has %d bits, where %d to %d are allowed", bits, rsaBitsMin, rsaBitsMax)
		}
		if public.N.Bit(0) == 0 || public.E < 3 || public.E&1 == 0 {
			return key, errors.New("an RSA key has an even modulus or exponent")
		}
		key.methods = []jwt.SigningMethod{jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512}
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			key.methods = []jwt.SigningMethod{jwt.SigningMethodES256}
		case elliptic.P384():
			key.methods = []jwt.SigningMethod{jwt.SigningMethodES384}
		case elliptic.P521():
			key.methods = []jwt.SigningMethod{jwt.SigningMethodES512}
		default:
			return key, errors.New("an EC key is on a curve that is none of P-256, P-384 and P-521")
		}
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return key, fmt.Errorf("an Ed25519 key has %d bytes in place of %d", len(public), ed25519.PublicKeySize)
		}
		key.methods = []jwt.SigningMethod{jwt.SigningMethodEdDSA}
	default:
		return key, errors.New("a key is none of RSA, EC and Ed25519")
	}
	return key, nil
}

// method is the algorithm of a name if the key is for it, or nil.
func (k *publicKey) method(alg string) jwt.SigningMethod {
	if at := slices.IndexFunc(k.methods, func(m jwt.SigningMethod) bool { return m.Alg() == alg }); at >= 0 {
		return k.methods[at]
	}
	return nil
}

// ReadPublicKeys reads a PEM text (RFC 7468) of one or several public keys: blocks PUBLIC KEY, RSA PUBLIC KEY and CERTIFICATE, of
// which only the key counts, and not until when it is good. The error says how to mend it, and contains nothing of the text.
func ReadPublicKeys(text []byte) (keys []any, err error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		var public any
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var certificate *x509.Certificate
			if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = certificate.PublicKey
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			return nil, errors.New("has a private key, which belongs to the backend alone; name a file with its public key (openssl pkey -pubout)")
		default:
			return nil, errors.New("has a PEM block that is no public key; name a file whose blocks are PUBLIC KEY or CERTIFICATE")
		}
		if err != nil {
			return nil, errors.New("has a key that cannot be read; name a file with a key for RSA, EC or Ed25519 (openssl pkey -pubout)")
		}
		if _, err := newPublicKey(public); err != nil {
			return nil, fmt.Errorf("cannot be used: %w", err)
		}
		keys, text = append(keys, public), rest
	}
	if len(keys) == 0 {
		return nil, errors.New("has no public key; name a file that begins with -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}
