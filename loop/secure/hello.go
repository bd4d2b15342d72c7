package secure

// What the first bytes of a connection are. A hello is what a TLS client begins with, the message ClientHello (RFC 8446 §4.1.2), in one
// or more records (§5.1).

// Kind is what somebody speaks, by the first bytes.
type Kind uint8

// The values of Kind.
const (
	Partial Kind = iota // a hello, of which more has to come
	Hello               // a whole one
	Text                // text, such as an HTTP request
	Garbage             // neither
)

const (
	recordHandshake = 0x16 // the type of a record (RFC 8446 §5.1); it is the first byte of a hello
	clientHello     = 1    // the type of a handshake message (§4)
	recordHeader    = 5    // bytes: type, version, length
	messageHeader   = 4    // bytes: type, length

	// HelloBytesMax bounds a hello, in bytes of its message. Those of browsers have some 2,000, with a key that quantum computers do not
	// break; crypto/tls would take 64 KiB.
	HelloBytesMax = 16 << 10

	// helloRecordsMax bounds the records of a hello, which are looked at again whenever more has come: with one for each byte a client
	// would have a loop look at 16,000 of them for a packet. Those who split hellos, against who reads along, make a few.
	helloRecordsMax = 64
)

// IsHello says whether a first byte begins a hello, where one is not expected.
func IsHello(first byte) bool { return first == recordHandshake }

// KindOf says what bytes are that a connection begins with. They are at least one.
func KindOf(p []byte) Kind {
	if !IsHello(p[0]) {
		if p[0] >= 'A' && p[0] <= 'Z' { // a method (RFC 9110 §9.1)
			return Text
		}
		return Garbage
	}
	var message [messageHeader]byte // as much as has come of it
	have, want := 0, 0              // bytes of the message; want is 0 as long as it is not known
	for records := 1; ; records++ {
		if len(p) > 1 && p[1] != 3 || len(p) > 0 && p[0] != recordHandshake { // a version of SSL 3 or TLS; of a hello it says nothing more
			return Garbage
		}
		if len(p) < recordHeader {
			return Partial
		}
		n := int(p[3])<<8 | int(p[4])
		if n == 0 || n > HelloBytesMax || records > helloRecordsMax {
			return Garbage
		}
		body := p[recordHeader:min(len(p), recordHeader+n)]
		if have < messageHeader {
			copy(message[have:], body)
		}
		if have += len(body); have > 0 && message[0] != clientHello {
			return Garbage
		}
		if want == 0 && have >= messageHeader {
			want = messageHeader + (int(message[1])<<16 | int(message[2])<<8 | int(message[3]))
			if want > HelloBytesMax {
				return Garbage
			}
		}
		if want > 0 && have >= want {
			return Hello
		}
		if len(p) < recordHeader+n {
			return Partial
		}
		p = p[recordHeader+n:]
	}
}

// recordOf is the length of the record that p begins with, its header included; 0: that has not come. A length, or a version, that no
// record may have (RFC 8446 §5.1, §5.2) is none: then only the header is handed over, and crypto/tls says what is wrong with it.
func recordOf(p []byte) int {
	if len(p) < recordHeader {
		return 0
	}
	n := int(p[3])<<8 | int(p[4])
	if n > recordBytesMax || p[1] != 3 {
		return recordHeader
	}
	return recordHeader + n
}

// recordBytesMax is the largest length in a record's header: of TLS 1.2 (RFC 5246 §6.2.3), which allows more than TLS 1.3.
const recordBytesMax = 16<<10 + 2048
