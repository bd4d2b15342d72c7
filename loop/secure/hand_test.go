package secure

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"testing"
)

// A client that has made its handshake by crypto/tls, and then writes and reads its records by hand: it sends what crypto/tls's client
// does not.

// byHand is such a client.
type byHand struct {
	t        *testing.T
	d        *driven
	version  uint16
	out, in  []byte // traffic secrets (RFC 8446 §7.1); of TLS 1.2 the client's key and its fixed part of the nonce
	outCount uint64
	inCount  uint64
}

func newByHand(t *testing.T, version uint16, portion int) *byHand {
	t.Helper()
	config, keys := clientConfig(version), &bytes.Buffer{}
	config.KeyLogWriter = keys
	config.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	d := begun(t, newServer(), config, portion)
	if suite := d.peer.ConnectionState().CipherSuite; version == tls.VersionTLS13 && suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("got cipher suite %x, and this client knows AES-128 alone", suite)
	}
	h := &byHand{t: t, d: d, version: version}
	for line := range strings.Lines(keys.String()) {
		words := strings.Fields(line)
		secret, _ := hex.DecodeString(words[2])
		switch words[0] {
		case "CLIENT_TRAFFIC_SECRET_0":
			h.out = secret
		case "SERVER_TRAFFIC_SECRET_0":
			h.in = secret
		case "CLIENT_RANDOM": // the master secret; key block as in RFC 5246 §6.3
			client, _ := hex.DecodeString(words[1])
			server := d.sent[recordHeader+messageHeader+2:][:32]
			block := prf(secret, append([]byte("key expansion"), append(bytes.Clone(server), client...)...), 40)
			h.out, h.outCount = append(bytes.Clone(block[:16]), block[32:36]...), 1 // behind Finished
		}
	}
	return h
}

// prf is RFC 5246 §5.
func prf(secret, seed []byte, n int) (out []byte) {
	mac := func(p ...[]byte) []byte {
		h := hmac.New(sha256.New, secret)
		for _, part := range p {
			h.Write(part)
		}
		return h.Sum(nil)
	}
	for a := mac(seed); len(out) < n; a = mac(a) {
		out = append(out, mac(a, seed)...)
	}
	return out[:n]
}

// label is HKDF-Expand-Label without a context (RFC 8446 §7.1).
func label(secret []byte, name string, n int) []byte {
	name = "tls13 " + name
	info := append([]byte{0, byte(n), byte(len(name))}, name...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return a
}

// nonce is RFC 8446 §5.3.
func nonce(secret []byte, count uint64) []byte {
	iv := label(secret, "iv", 12)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], count)
	for i, b := range n {
		iv[4+i] ^= b
	}
	return iv
}

// record is a record of a type.
func (h *byHand) record(kind byte, p []byte) []byte {
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], h.outCount)
	defer func() { h.outCount++ }()
	if h.version == tls.VersionTLS12 { // RFC 5288 §3
		head := []byte{kind, 3, 3, 0, 0}
		aad := append(bytes.Clone(count[:]), kind, 3, 3, byte(len(p)>>8), byte(len(p)))
		body := gcm(h.out[:16]).Seal(bytes.Clone(count[:]), append(bytes.Clone(h.out[16:]), count[:]...), p, aad)
		binary.BigEndian.PutUint16(head[3:], uint16(len(body)))
		return append(head, body...)
	}
	inner := append(bytes.Clone(p), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+16))
	return gcm(label(h.out, "key", 16)).Seal(head, nonce(h.out, h.outCount), inner, head)
}

func (h *byHand) send(kind byte, p []byte) {
	if _, err := h.d.peer.NetConn().Write(h.record(kind, p)); err != nil {
		h.t.Errorf("write: %v", err)
	}
}

// next is the next record that the server has sent, over TLS 1.3.
func (h *byHand) next() (kind byte, p []byte) {
	h.t.Helper()
	head := make([]byte, recordHeader)
	if _, err := io.ReadFull(h.d.peer.NetConn(), head); err != nil {
		h.t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	if _, err := io.ReadFull(h.d.peer.NetConn(), body); err != nil {
		h.t.Fatal(err)
	}
	plain, err := gcm(label(h.in, "key", 16)).Open(nil, nonce(h.in, h.inCount), body, head)
	if err != nil {
		h.t.Fatalf("record %d of the server: %v", h.inCount, err)
	}
	h.inCount++
	return plain[len(plain)-1], plain[:len(plain)-1]
}

// changeKeys says that the client has other keys from now on (RFC 8446 §4.6.3), and asks the server for the same.
func (h *byHand) changeKeys() {
	h.send(recordHandshake, []byte{24, 0, 0, 1, 1})
	h.out, h.outCount = label(h.out, "traffic upd", 32), 0
}
