package ceiling

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/flate"
)

// What a server must do for compressed messages (RFC 7692): inflate what it receives, and compress each message once for all. All clients
// of a ceiling with compression have it, so a group needs no second batch. The library is the fastest that there is in Go.

const (
	rsv1       = 0x40
	opBits     = 0x0F
	packedMin  = 256 // bytes of a text that is worth compressing
	inflateMax = 1 << 20
)

// packs is the scratch of a server with compression.
type packs struct {
	to    bytes.Buffer
	from  bytes.Reader
	text  bytes.Buffer
	write *flate.Writer
	read  io.ReadCloser
}

func newPacks() *packs {
	p := &packs{}
	p.write, _ = flate.NewWriter(&p.to, flate.BestSpeed) // a level that there is
	p.read = flate.NewReader(&p.from)
	return p
}

// appendText adds one text frame, compressed if that is shorter.
func (p *packs) appendText(dst, text []byte) []byte {
	if p == nil || len(text) < packedMin {
		return appendText(dst, text)
	}
	p.to.Reset()
	p.write.Reset(&p.to)
	_, _ = p.write.Write(text) // a buffer takes everything
	_ = p.write.Flush()
	packed := p.to.Bytes()[:p.to.Len()-4] // section 7.2.1
	if len(packed) >= len(text) {
		return appendText(dst, text)
	}
	at := len(dst)
	dst = appendText(dst, packed)
	dst[at] |= rsv1
	return dst
}

// inflate is valid until the next call; nil: it cannot be inflated.
func (p *packs) inflate(packed []byte) []byte {
	if p == nil {
		return nil
	}
	p.from.Reset(append(packed[:len(packed):len(packed)], 0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF))
	p.text.Reset()
	_ = p.read.(flate.Resetter).Reset(&p.from, nil) // never fails
	if _, err := p.text.ReadFrom(io.LimitReader(p.read, inflateMax)); err != nil {
		return nil
	}
	return p.text.Bytes()
}
