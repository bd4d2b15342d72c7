package secure

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// This file gives back the buffers of crypto/tls, which keeps them for the life of a connection: the one for the messages of the
// handshake, of some kilobytes, and the one into which it reads records, which is as large as the largest record was. What it has
// decrypted lies in there too, so it refers to the last record when that was read. Most connections are idle most of the time, and a
// record can be decrypted where it lies, without a copy. There is no way to say so, but to write to crypto/tls's own fields. They are
// found by name and type; if a new Go has them no more, connections keep their buffers, and
// TestAnIdleConnectionHoldsNoBuffer fails.

var (
	rawInputAt = fieldAt[bytes.Buffer]("rawInput") // records as they come
	handAt     = fieldAt[bytes.Buffer]("hand")     // messages of the handshake
	inputAt    = fieldAt[bytes.Reader]("input")    // what was decrypted and not read
)

// noBuffer is the place of a buffer that is not where it was.
const noBuffer = ^uintptr(0)

// fieldAt is the place of a field in a tls.Conn.
func fieldAt[T any](name string) uintptr {
	if f, ok := reflect.TypeFor[tls.Conn]().FieldByName(name); ok && f.Type == reflect.TypeFor[T]() {
		return f.Offset
	}
	return noBuffer
}

// buffer is a buffer of a connection; nil: it is not where it was.
func buffer(c *tls.Conn, at uintptr) *bytes.Buffer {
	if at == noBuffer {
		return nil
	}
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), at))
}

// slim drops the buffers of a handshake that is done.
func slim(c *tls.Conn) {
	drop(buffer(c, rawInputAt))
	drop(buffer(c, handAt))
}

// drop drops the memory of a buffer that is empty.
func drop(b *bytes.Buffer) {
	if b != nil && b.Len() == 0 {
		*b = bytes.Buffer{}
	}
}

// lend has a connection read its next record where it lies. False: it has to be read.
func lend(c *tls.Conn, record []byte) bool {
	b := buffer(c, rawInputAt)
	if b == nil || b.Len() > 0 {
		return false
	}
	*b = *bytes.NewBuffer(record)
	return true
}

// takeBack is the opposite of lend, after the record was read. waiting is how much of a message for crypto/tls has come that is not whole.
func takeBack(c *tls.Conn) (waiting int) {
	if b := buffer(c, rawInputAt); b != nil {
		*b = *bytes.NewBuffer(bytes.Clone(b.Bytes())) // of nothing, unless the record has ended in an error
	}
	if inputAt != noBuffer {
		if input := (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), inputAt)); input.Len() == 0 {
			*input = bytes.Reader{}
		}
	}
	if hand := buffer(c, handAt); hand != nil {
		waiting = hand.Len()
		drop(hand)
	}
	return waiting
}
