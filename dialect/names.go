package dialect

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
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

// PackedName is the 16 bytes that a name stands for.
type PackedName [aes.BlockSize]byte

// PackName is the packed form of a name; ok is false if it has not the form of a UUID in lower case.
func PackName(name string) (p PackedName, ok bool) {
	digits := bytes.ReplaceAll([]byte(name), []byte("-"), nil)
	if len(digits) != hex.EncodedLen(len(p)) {
		return p, false
	}
	if _, err := hex.Decode(p[:], digits); err != nil {
		return p, false
	}
	return p, p.String() == name
}

// String is the name.
func (p PackedName) String() string { return string(p.append(make([]byte, 0, clientNameBytes))) }

func (p PackedName) append(dst []byte) []byte {
	dst = hex.AppendEncode(dst, p[:4])
	for at := 4; at < 10; at += 2 {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, p[at:at+2])
	}
	return hex.AppendEncode(append(dst, '-'), p[10:])
}

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
	n.encrypt(client, block)
	return block.packed().append(dst)
}

// encrypt makes block that of a client's number.
func (n Names) encrypt(client uint64, block *nameBlock) {
	b := block[:]
	clear(b)
	binary.BigEndian.PutUint64(b[8:], client)
	n.cipher.Encrypt(b, b)
}

// packed is the name that an encrypted block makes.
func (b *nameBlock) packed() PackedName {
	p := PackedName(*b)
	p[6] = p[6]&0x0f | 0x40 // version 4
	p[8] = p[8]&0x3f | 0x80 // the variant of RFC 9562
	return p
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

// SocketID is the name of a client's number as clients of the Pusher protocol know it: the two halves of the encrypted block, as decimal
// numbers with a point between them. It is asked for by who signs, and given back by who does not want to hear itself.
func (n Names) SocketID(client uint64) string {
	if n.cipher == nil {
		return ""
	}
	return string(n.appendSocketID(nil, client, new(nameBlock)))
}

// appendSocketID appends the socket id of a client's number; block is memory that it uses.
func (n Names) appendSocketID(dst []byte, client uint64, block *nameBlock) []byte {
	n.encrypt(client, block)
	dst = strconv.AppendUint(dst, binary.BigEndian.Uint64(block[:8]), 10)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, binary.BigEndian.Uint64(block[8:]), 10)
}

// SocketName is the client's name, as Names.Of gives it, that goes with a socket id: whoever's it is, on whatever node, as no key is needed
// for it. ok is false if the text has not the form of a socket id.
func SocketName(socketID string) (name string, ok bool) {
	high, low, found := strings.Cut(socketID, ".")
	if !found {
		return "", false
	}
	var block nameBlock
	for at, digits := range [...]string{high, low} {
		half, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || digits != strconv.FormatUint(half, 10) {
			return "", false
		}
		binary.BigEndian.PutUint64(block[8*at:], half)
	}
	return block.packed().String(), true
}
