package wsproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// This file reads the header by which a TCP proxy names the client whose bytes it passes
// on: the PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt; "§"
// below is that text).

// Sizes of a PROXY protocol header.
const (
	proxyLineBytesMax = 107     // version 1, its CR LF included (§2.1)
	proxyFixedBytes   = 16      // version 2, before its addresses (§2.2)
	proxyBytesMax     = 4 << 10 // version 2 in all: what follows the addresses is ignored, but must be accepted
)

// proxySignature begins a header of version 2 (§2.2).
const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// proxyWord begins a header of version 1 (§2.1).
const proxyWord = "PROXY "

// ReadProxy reads one PROXY protocol header from the front of p, which may hold less than
// one header, or more.
//
// n == 0 without an error: the header is incomplete; call again with the whole buffer when
// it has grown. n > 0: the header is n bytes, and p[n:] is what the client itself sent.
// client is its address; the zero AddrPort where the connection is the proxy's own (LOCAL)
// or the header has no usable address (UNKNOWN, unix sockets): then only the socket's
// address is known. IPv4 addresses are returned as such, however they were written. An
// error is a *Rejection.
//
// As with ReadRequest, each byte is checked as soon as it arrives, and the result does not
// depend on how the bytes were split.
func ReadProxy(p []byte) (client netip.AddrPort, n int, err error) {
	var rejection *Rejection
	switch {
	case len(p) == 0:
		return netip.AddrPort{}, 0, nil
	case p[0] == proxyWord[0]:
		client, n, rejection = readProxyLine(p)
	default:
		client, n, rejection = readProxyBinary(p)
	}
	if rejection != nil {
		return netip.AddrPort{}, 0, rejection
	}
	return netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), n, nil
}

// readProxyLine reads version 1, one line of text (§2.1).
func readProxyLine(p []byte) (client netip.AddrPort, n int, r *Rejection) {
	if !agree(p, proxyWord) {
		return client, 0, rejectNoProxy
	}
	line := p[:min(len(p), proxyLineBytesMax)]
	size := bytes.IndexAny(line, "\r\n")
	if size < 0 {
		if len(line) == proxyLineBytesMax {
			return client, 0, rejectProxySize
		}
		return client, 0, nil
	}
	if line[size] == '\n' {
		return client, 0, rejectProxyLine
	}
	if size+1 == len(line) {
		if len(line) == proxyLineBytesMax {
			return client, 0, rejectProxySize
		}
		return client, 0, nil
	}
	if line[size+1] != '\n' {
		return client, 0, rejectProxyLine
	}
	client, ok := proxyLineClient(line[len(proxyWord):size])
	if !ok {
		return client, 0, rejectProxyLine
	}
	return client, size + 2, nil
}

// proxyLineClient is the source in "TCP4 SOURCE DESTINATION PORT PORT". Anything
// after UNKNOWN is ignored.
func proxyLineClient(rest []byte) (client netip.AddrPort, ok bool) {
	if string(rest) == "UNKNOWN" || bytes.HasPrefix(rest, []byte("UNKNOWN ")) {
		return client, true
	}
	field := bytes.Split(rest, []byte(" "))
	if len(field) != 5 {
		return client, false
	}
	var is func(netip.Addr) bool
	switch string(field[0]) {
	case "TCP4":
		is = netip.Addr.Is4
	case "TCP6":
		is = netip.Addr.Is6
	default:
		return client, false
	}
	source, err1 := netip.ParseAddr(string(field[1]))
	destination, err2 := netip.ParseAddr(string(field[2]))
	port, ok1 := proxyPort(field[3])
	_, ok2 := proxyPort(field[4])
	if err1 != nil || err2 != nil || !is(source) || !is(destination) || source.Zone()+destination.Zone() != "" || !ok1 || !ok2 {
		return client, false
	}
	return netip.AddrPortFrom(source, port), true
}

// proxyPort is a port in decimal, without leading zeros (§2.1).
func proxyPort(text []byte) (port uint16, ok bool) {
	if len(text) == 0 || len(text) > 5 || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return uint16(n), n < 1<<16
}

// readProxyBinary reads version 2 (§2.2):
//
//	[ signature 12 | version, command 1 | family, protocol 1 | length 2 | addresses | extensions ]
func readProxyBinary(p []byte) (client netip.AddrPort, n int, r *Rejection) {
	const versionAt, familyAt, lengthAt = len(proxySignature), len(proxySignature) + 1, len(proxySignature) + 2
	if !agree(p, proxySignature) {
		return client, 0, rejectNoProxy
	}
	if len(p) <= versionAt {
		return client, 0, nil
	}
	const local, proxied = 0x20, 0x21
	command := p[versionAt]
	if command != local && command != proxied {
		return client, 0, rejectProxyVersion
	}
	if len(p) <= familyAt {
		return client, 0, nil
	}
	address, rejection := proxyFamily(p[familyAt])
	if command == local {
		address, rejection = 0, nil // its addresses are to be ignored (§2.2)
	}
	if rejection != nil {
		return client, 0, rejection
	}
	if len(p) < proxyFixedBytes {
		return client, 0, nil
	}
	length := int(binary.BigEndian.Uint16(p[lengthAt:]))
	if n = proxyFixedBytes + length; length < proxyAddresses[address] || n > proxyBytesMax {
		return client, 0, rejectProxySize
	}
	if len(p) < n {
		return client, 0, nil
	}
	// Both addresses, then both ports; the source comes first.
	switch from := p[proxyFixedBytes:]; address {
	case proxyIPv4:
		client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(from)), binary.BigEndian.Uint16(from[8:]))
	case proxyIPv6:
		client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(from)), binary.BigEndian.Uint16(from[32:]))
	}
	return client, n, nil
}

// Families of addresses: the upper half of their byte (§2.2).
const (
	proxyUnspecified = iota
	proxyIPv4
	proxyIPv6
	proxyUnix
)

// proxyAddresses is the size in bytes of the addresses of each family (§2.2).
var proxyAddresses = [...]int{proxyUnspecified: 0, proxyIPv4: 12, proxyIPv6: 36, proxyUnix: 216}

// proxyFamily is the family in its byte. One combination has no protocol, and each other
// family has a stream and a datagram; receivers must refuse the rest (§2.2).
func proxyFamily(b byte) (family int, r *Rejection) {
	family, protocol := int(b>>4), b&15
	if family > proxyUnix || (family == proxyUnspecified) != (protocol == 0) || protocol > 2 {
		return 0, rejectProxyFamily
	}
	return family, nil
}

// agree reports whether one of p and the text is a prefix of the other.
func agree(p []byte, text string) bool {
	n := min(len(p), len(text))
	return string(p[:n]) == text[:n]
}
