package dialect

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
)

// Names are the names by which clients of the Centrifuge protocol, and backends, know clients: each is the client's number, encrypted with
// a key that only this process knows, in the form of a random UUID (RFC 9562 §5.4). So nobody stores them, and nobody reads from them how
// many clients there are. The six bits that make it a UUID take the place of encrypted ones: two clients have the same name as seldom as
// if they had drawn their 122 bits by lot, and who has the key finds the number by trying the 64 values that they may have had.
//
// Owner: any goroutine; it is only read. The zero value has no names.
type Names struct{ cipher cipher.Block }

// NewNames are those of a key.
func NewNames(key [16]byte) Names {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a key of 16 bytes is one of AES-128
	}
	return Names{block}
}

// clientNameBytes is the length of a UUID.
const clientNameBytes = len("00000000-0000-4000-8000-000000000000")

// nameBlock is what is encrypted: eight zeros, and a number.
type nameBlock [aes.BlockSize]byte

// Of is the name of a client's number.
func (n Names) Of(client uint64) string {
	if n.cipher == nil {
		return ""
	}
	return string(n.append(nil, client, new(nameBlock)))
}

// append appends the name of a client's number; block is memory that it uses.
func (n Names) append(dst []byte, client uint64, block *nameBlock) []byte {
	b := block[:]
	clear(b)
	binary.BigEndian.PutUint64(b[8:], client)
	n.cipher.Encrypt(b, b)
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // the variant of RFC 9562
	dst = hex.AppendEncode(dst, b[:4])
	for at := 4; at < 10; at += 2 {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, b[at:at+2])
	}
	return hex.AppendEncode(append(dst, '-'), b[10:])
}

// Number is the number of the client that has a name; ok is false if none can have it.
func (n Names) Number(name string) (client uint64, ok bool) {
	var b, tried nameBlock
	digits := bytes.ReplaceAll([]byte(name), []byte("-"), nil)
	if n.cipher == nil || len(name) != clientNameBytes || len(digits) != 2*len(b) {
		return 0, false
	}
	if _, err := hex.Decode(b[:], digits); err != nil {
		return 0, false
	}
	for bits := range byte(64) {
		tried = b
		tried[6] = b[6]&0x0f | bits<<4
		tried[8] = b[8]&0x3f | bits>>4<<6
		n.cipher.Decrypt(tried[:], tried[:])
		if binary.BigEndian.Uint64(tried[:8]) == 0 {
			client = binary.BigEndian.Uint64(tried[8:])
			return client, n.Of(client) == name
		}
	}
	return 0, false
}
