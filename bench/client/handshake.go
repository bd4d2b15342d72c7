package client

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

const (
	acceptGUID       = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
	upgradeBytesMax  = 8 << 10                                // a longer answer is no handshake
	upgradeKeyLength = 16
)

// upgrade is the handshake that all clients of a generator send. One key serves all of them: the answer to it is
// checked on every client, and no server may tell clients apart by key.
type upgrade struct {
	request []byte
	accept  string
	packs   bool // it offers permessage-deflate
}

func newUpgrade(t Target) upgrade {
	var raw [upgradeKeyLength]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the program rather than return an error
	key := base64.StdEncoding.EncodeToString(raw[:])
	extensions := ""
	if t.Compression {
		extensions = "Sec-WebSocket-Extensions: " + packingOffer + "\r\n"
	}
	return upgrade{
		request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n", t.Path, t.Host, key, extensions),
		accept: acceptOf(key),
		packs:  t.Compression,
	}
}

// acceptOf is what a server answers to a key.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// check reads the server's answer and returns its length, 0 while it is incomplete, and whether permessage-deflate was agreed on.
// Frames may follow it directly.
func (u upgrade) check(b []byte) (n int, packs bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > upgradeBytesMax {
			return 0, false, errors.New("handshake: the answer does not end")
		}
		return 0, false, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	status := strings.SplitN(lines[0], " ", 3)
	if len(status) < 2 || status[0] != "HTTP/1.1" {
		return 0, false, errors.New("handshake: the answer is not HTTP/1.1")
	}
	if status[1] != "101" {
		return 0, false, fmt.Errorf("handshake: answered %s", strings.Join(status[1:], " "))
	}
	var upgraded, connected, accepted bool
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "upgrade":
			upgraded = strings.EqualFold(value, "websocket")
		case "connection":
			for token := range strings.SplitSeq(value, ",") { // a list: RFC 6455, section 4.1
				connected = connected || strings.EqualFold(strings.TrimSpace(token), "upgrade")
			}
		case "sec-websocket-accept":
			accepted = value == u.accept
		case "sec-websocket-extensions":
			if !u.packs || packs { // a second such line would be a second extension
				return 0, false, errors.New("handshake: sec-websocket-extensions, which was not offered")
			}
			if err := checkPacking(value); err != nil {
				return 0, false, err
			}
			packs = true
		case "sec-websocket-protocol":
			return 0, false, fmt.Errorf("handshake: %s, which was not offered", strings.ToLower(name))
		}
	}
	switch {
	case !upgraded || !connected:
		return 0, false, errors.New("handshake: 101 without Upgrade: websocket and Connection: Upgrade")
	case u.packs && !packs:
		return 0, false, errors.New("handshake: permessage-deflate was offered and not accepted: ringcast does with --compression on")
	case !accepted:
		return 0, false, errors.New("handshake: wrong Sec-WebSocket-Accept")
	}
	return end + 4, packs, nil
}
