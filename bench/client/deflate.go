package client

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Compression of messages is RFC 7692, without context takeover in either direction: each message stands alone, so a server may
// compress it once for all.

const (
	packing      = "permessage-deflate"
	packingOffer = packing + "; server_no_context_takeover; client_no_context_takeover"

	// packedMin is the shortest text that clients compress: below it is little to win. Browsers compress shorter ones, too.
	packedMin = 256
	// inflatedBytesMax bounds the memory of inflated; beyond it that begins anew.
	inflatedBytesMax = 32 << 20
)

// checkPacking says whether a server's answer to the offer is one that RFC 7692, section 7.1, allows.
func checkPacking(value string) error {
	parts := strings.Split(value, ";")
	if name := strings.TrimSpace(parts[0]); name != packing {
		return fmt.Errorf("handshake: the extension %.60q, which was not offered", name)
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		name, given, valued := strings.Cut(strings.TrimSpace(part), "=")
		bits, err := strconv.Atoi(strings.Trim(given, `"`))
		switch {
		case seen[name]:
			return fmt.Errorf("handshake: the parameter %.60q of %s twice", name, packing)
		case (name == "server_no_context_takeover" || name == "client_no_context_takeover") && !valued:
		case name == "server_max_window_bits" && err == nil && bits >= 8 && bits <= 15:
		default:
			return fmt.Errorf("handshake: the parameter %.60q of %s, which was not offered", strings.TrimSpace(part), packing)
		}
		seen[name] = true
	}
	if !seen["server_no_context_takeover"] {
		return fmt.Errorf("handshake: %s without server_no_context_takeover, which was asked for", packing)
	}
	return nil
}

// inflated has the messages that were inflated, by the whole of their compressed bytes. All members of a group are sent the same
// bytes, so of ten thousand deliveries one is inflated, and the others are compared with it, byte by byte: they bring the same text
// then, whatever the server did. Owner: the generator's thread.
type inflated struct {
	known map[string][]byte
	bytes int // of keys and texts
	from  bytes.Reader
	flate io.ReadCloser
}

// flateEnd is what a sender leaves out (RFC 7692, section 7.2.1), and a last empty block.
var flateEnd = []byte{0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF}

// unpack returns the text of a compressed payload. It is not to be changed.
func (i *inflated) unpack(packed []byte, most int) ([]byte, error) {
	if text, ok := i.known[string(packed)]; ok {
		return text, nil
	}
	key := string(packed)
	i.from.Reset(append([]byte(key), flateEnd...))
	if i.flate == nil {
		i.flate = flate.NewReader(&i.from)
	} else if err := i.flate.(flate.Resetter).Reset(&i.from, nil); err != nil {
		return nil, fmt.Errorf("a compressed message: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(i.flate, int64(most)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("a compressed message that cannot be inflated by itself: %w", err)
	case len(text) > most:
		return nil, fmt.Errorf("a compressed message of over %d bytes", most)
	case i.from.Len() > 0 && !(i.from.Len() == len(flateEnd)+1 && packed[len(packed)-1] == 0): // a last block, RFC 7692, section 7.2.3.4
		return nil, errors.New("a compressed message with something behind its end")
	}
	if i.bytes += len(key) + len(text); i.bytes > inflatedBytesMax || i.known == nil {
		i.known, i.bytes = map[string][]byte{}, len(key)+len(text)
	}
	i.known[key] = text
	return text, nil
}

// packer compresses what clients send. Owner: the generator's thread.
type packer struct {
	to    bytes.Buffer
	flate *flate.Writer
}

// pack is valid until the next call.
func (p *packer) pack(text []byte) []byte {
	p.to.Reset()
	if p.flate == nil {
		p.flate, _ = flate.NewWriter(&p.to, flate.BestSpeed) // a level that there is
	} else {
		p.flate.Reset(&p.to)
	}
	_, _ = p.flate.Write(text) // a buffer takes everything
	_ = p.flate.Flush()
	return p.to.Bytes()[:p.to.Len()-4]
}

// Packs says that the client and its server have agreed on compression.
func (c *Conn) Packs() bool { return c.packs }

// AppendText appends a text as c sends it, compressed if that was agreed on and makes it shorter.
func (g *Generator) AppendText(dst []byte, c *Conn, text []byte) []byte {
	op := byte(opText)
	if c.packs && len(text) >= packedMin {
		if packed := g.packer.pack(text); len(packed) < len(text) {
			op, text = op|0x40, packed // RSV1
		}
	}
	return appendFrame(dst, op, text, g.MaskKey())
}
