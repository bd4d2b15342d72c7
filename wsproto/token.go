package wsproto

import (
	"bytes"
	"strings"
)

// Token is the token that a client brings in its request, by "Authorization: Bearer …" (RFC 6750 §2.1) or as the parameter token of its
// query, where percent escapes are decoded; nil: it brings none. One way is to be used, once (§2). Other schemes of Authorization
// are for proxies.
func (r *Request) Token() (token []byte, rejection *Rejection) {
	token = r.bearer
	for parameter := range strings.SplitSeq(r.Query, "&") {
		text, is := strings.CutPrefix(parameter, "token=")
		switch {
		case !is:
			continue
		case token != nil || r.bearers > 0:
			return nil, rejectTokenTwice
		}
		if token = unescaped(text); token == nil {
			return nil, RejectToken
		}
	}
	if r.bearers > 1 {
		return nil, rejectTokenTwice
	}
	return token, nil
}

// unescaped is a text with its percent escapes decoded; nil: one of them is none.
func unescaped(text string) []byte {
	b := []byte(text)
	if !goodEscapes(b) {
		return nil
	}
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == '%' {
			out = append(out, hexDigit(b[i+1])<<4|hexDigit(b[i+2]))
			i += 2
		} else {
			out = append(out, b[i])
		}
	}
	return out
}

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0x0f + 9
}

// bearerToken is the token of an Authorization header; false: it is of another scheme.
func bearerToken(value []byte) (token []byte, ok bool) {
	scheme, token, _ := bytes.Cut(value, []byte(" "))
	if token = bytes.TrimLeft(token, " "); token == nil {
		token = []byte{} // there is one, and it is none
	}
	return token, equalFold(scheme, "bearer")
}
