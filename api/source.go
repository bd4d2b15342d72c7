package api

import (
	"errors"
	"io"
)

// source is a body that is read as it comes. So much of it is kept as one JSON value takes.
//
// Owner: that of the exchange.
type source struct {
	body   io.Reader
	before func() // called before each read, which may wait for the peer
	buffer []byte
	at     int   // what is in front of it was taken
	most   int   // bytes of one value
	err    error // of the body; io.EOF: all has come
}

// Bounds of a source.
const (
	readBytes       = 32 << 10
	commandBytesMax = 8 << 20 // of one command among many: as the body of a single one by default
)

// Errors of value.
var (
	errTooLong = errors.New("a value is too long")
	errCut     = errors.New("a value does not end, or is none")
)

// peek is the next byte that is no space; ok is false at the end, for whatever reason.
func (s *source) peek() (c byte, ok bool) {
	for {
		for ; s.at < len(s.buffer); s.at++ {
			if c := s.buffer[s.at]; !isSpace(c) {
				return c, true
			}
		}
		if !s.fill() {
			return 0, false
		}
	}
}

// skip takes a byte that must be the next one that is no space.
func (s *source) skip(want byte) bool {
	c, ok := s.peek()
	if !ok || c != want {
		return false
	}
	s.at++
	return true
}

// value takes the next value, as far as brackets and quotes tell where it ends: that it is JSON is for the caller to check. It is good
// until the next call.
func (s *source) value() ([]byte, error) {
	first, ok := s.peek()
	if !ok {
		return nil, errCut
	}
	depth, quoted, escaped := 0, false, false
	for n := 0; ; n++ { // from s.at on, since fill moves the buffer
		if n == s.most {
			return nil, errTooLong
		}
		if s.at+n == len(s.buffer) && !s.fill() {
			if s.err == io.EOF && first != '"' && depth == 0 { // a number, or a word
				return s.scalar(n)
			}
			return nil, errCut
		}
		c := s.buffer[s.at+n]
		switch {
		case escaped:
			escaped = false
			continue
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
			if quoted || depth > 0 {
				continue
			}
		case c == '"':
			quoted = true
			continue
		case c == '{' || c == '[':
			depth++
			continue
		case c == '}' || c == ']':
			if depth == 0 { // of what the value stands in
				return s.scalar(n)
			}
			if depth--; depth > 0 {
				continue
			}
		case depth > 0:
			continue
		case c == ',' || c == ':' || isSpace(c):
			return s.scalar(n)
		default:
			continue
		}
		return s.take(n + 1), nil
	}
}

// scalar takes a number or a word of n bytes.
func (s *source) scalar(n int) ([]byte, error) {
	if n == 0 {
		return nil, errCut
	}
	return s.take(n), nil
}

func (s *source) take(n int) []byte {
	value := s.buffer[s.at : s.at+n : s.at+n]
	s.at += n
	return value
}

// fill reads on; false: nothing more comes.
func (s *source) fill() bool {
	if s.err != nil {
		return false
	}
	if s.at > 0 {
		s.buffer = s.buffer[:copy(s.buffer, s.buffer[s.at:])]
		s.at = 0
	}
	if cap(s.buffer)-len(s.buffer) < readBytes/2 {
		grown := make([]byte, len(s.buffer), max(2*cap(s.buffer), readBytes))
		copy(grown, s.buffer)
		s.buffer = grown
	}
	for s.err == nil {
		s.before()
		var n int
		n, s.err = s.body.Read(s.buffer[len(s.buffer):cap(s.buffer)])
		s.buffer = s.buffer[:len(s.buffer)+n]
		if n > 0 {
			return true
		}
	}
	return false
}
