package ceiling

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
)

const (
	opText  = 0x1 // RFC 6455, section 5.2
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
	fin     = 0x80

	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
)

// take serves whole requests at the start of b and returns how many bytes they had, or -1 to end the connection.
func (s *server) take(c *client, b []byte) int {
	used := 0
	if !c.open {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return 0
		}
		answer := upgrade(b[:end+2], s.packs != nil)
		if answer == nil {
			return -1
		}
		s.write(c, answer)
		c.open, used = true, end+4
		if c.centrifuge, c.pusher = isCentrifuge(b), isPusher(b); c.pusher {
			s.write(c, appendText(nil, []byte(pusherGreeting)))
		}
	}
	for {
		op, payload, size := frame(b[used:])
		if size == 0 {
			return used
		}
		used += size
		if op&rsv1 != 0 {
			if payload = s.packs.inflate(payload); payload == nil {
				return -1
			}
		}
		switch op & opBits {
		case opText:
			switch {
			case c.centrifuge:
				s.centrifuge(c, payload)
			case c.pusher:
				s.pusher(c, payload)
			default:
				s.command(c, payload)
			}
		case opPing:
			s.write(c, append([]byte{fin | opPong, byte(len(payload))}, payload...))
		case opClose:
			return -1
		}
	}
}

// upgrade answers the handshake; nil for a request without a key, or without an offer where clients must compress.
func upgrade(request []byte, packs bool) []byte {
	const name = "\r\nsec-websocket-key:"
	at := bytes.Index(bytes.ToLower(request), []byte(name))
	if at < 0 {
		return nil
	}
	extensions := ""
	if packs {
		if !bytes.Contains(request, []byte("permessage-deflate")) {
			return nil
		}
		extensions = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	key, _, _ := bytes.Cut(request[at+len(name):], []byte("\r\n"))
	sum := sha1.Sum(append(bytes.TrimSpace(key), acceptGUID...))
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + extensions + "Sec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
}

// frame parses the first frame of b and unmasks it in place. op has rsv1 beside the opcode; size is 0 while the frame is incomplete.
func frame(b []byte) (op byte, payload []byte, size int) {
	if len(b) < 6 {
		return 0, nil, 0
	}
	length, head := int(b[1]&0x7F), 6
	switch {
	case length == 126 && len(b) >= 8:
		length, head = int(binary.BigEndian.Uint16(b[2:])), 8
	case length == 127 && len(b) >= 14:
		length, head = int(binary.BigEndian.Uint64(b[2:])&(1<<40-1)), 14
	case length >= 126:
		return 0, nil, 0
	}
	if len(b) < head+length {
		return 0, nil, 0
	}
	key, payload := b[head-4:head], b[head:head+length]
	for i := range payload {
		payload[i] ^= key[i&3]
	}
	return b[0] & (rsv1 | opBits), payload, head + length
}

// command does what a well-formed command of the bench asks for. It searches for the three fields and is no JSON parser:
// texts with escapes are passed on unchanged.
func (s *server) command(c *client, text []byte) {
	name := field(text, `"group_id":"`, '"')
	if message := field(text, `"message":"`, '"'); message != nil {
		if g := s.groups[string(name)]; g != nil && len(g.fds) > 0 {
			s.publish(g, message)
		}
		return
	}
	if bytes.Contains(text, []byte(`"add_group"`)) {
		s.join(c, name)
	} else {
		s.leaveGroup(c, name)
	}
	if id := field(text, `"id":`, '}'); id != nil {
		answer := append([]byte(`{"id":`), id...)
		s.write(c, appendText(nil, append(answer, `,"ok":true}`...)))
	}
}

func (s *server) leaveGroup(c *client, name []byte) {
	g := s.groups[string(name)]
	for at := range c.seats {
		if c.seats[at].group == g {
			s.leave(c, at)
			return
		}
	}
}

// field is the text between a key and the next end character; nil without the key.
func field(text []byte, key string, end byte) []byte {
	at := bytes.Index(text, []byte(key))
	if at < 0 {
		return nil
	}
	rest := text[at+len(key):]
	if to := bytes.IndexByte(rest, end); to >= 0 {
		return rest[:to]
	}
	return nil
}

// appendText adds one unmasked text frame.
func appendText(dst, text []byte) []byte {
	dst = append(dst, fin|opText)
	switch n := len(text); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, text...)
}
