package wsproto

import (
	"strconv"
	"strings"
)

// Rejection is an HTTP answer that ends the connection (RFC 6455 §4.2.2, RFC 9110 §15).
// Those of this package are shared: read only.
type Rejection struct {
	Status int    // HTTP status code
	Reason string // a sentence for a human, sent as the body
	Header string // further header lines, each "Name: value\r\n", or ""
}

// Rejections that the caller decides on. Those of status 503 and 429 need an After, with
// another number for each client, or else all clients of a reconnect storm return at once.
var (
	// RejectTimeout is for a head that is not complete within the handshake timeout.
	RejectTimeout = &Rejection{Status: 408, Reason: "the request took too long to arrive"}
	// RejectPlain is for plain HTTP where TLS is spoken.
	RejectPlain = &Rejection{Status: 400, Reason: "TLS is spoken here: use https:// or wss://"}
	// RejectTLS is the other way round. A TLS client cannot show its text, but many know an answer of
	// HTTP when they see one, and say so.
	RejectTLS = &Rejection{Status: 400, Reason: "this looks like TLS, but the port speaks plain HTTP; TLS needs --tls-listen, or a proxy " +
		"in front of it, or the address should begin with ws:// in place of wss://"}
	// RejectBusy is for a client beyond the bound on connections.
	RejectBusy = &Rejection{Status: 503, Reason: "this server has as many connections as it may; try again later"}
	// RejectAddress is for a client beyond the bound on connections from its address.
	RejectAddress = &Rejection{Status: 503, Reason: addressReason}
	// RejectProxied is the same for a client whose address a proxy has named: not 503, which
	// would tell the proxy to send no more clients to this server.
	RejectProxied = &Rejection{Status: 429, Reason: addressReason}
	// RejectRate is for a client beyond the bound on handshakes per second.
	RejectRate = &Rejection{Status: 503, Reason: "more clients connect at this moment than this server takes at a time; try again"}
	// RejectMemory is for a client that connects while memory is short.
	RejectMemory = &Rejection{Status: 503, Reason: "this server is short of memory; try again"}
	// RejectStopping is for a client that connects while the server is stopping.
	RejectStopping = &Rejection{Status: 503, Reason: "this server is stopping; try again"}
)

// Rejections of who brings a token (RFC 6750 §3.1).
var (
	// RejectToken is for a token that is not valid here.
	RejectToken = &Rejection{Status: 401, Reason: "the token is not valid here", Header: invalidToken}
	// RejectTokenExpired is for one that was.
	RejectTokenExpired = &Rejection{Status: 401, Reason: "the token has expired; connect with a new one", Header: invalidToken}

	rejectTokenTwice = &Rejection{Status: 400, Reason: "the request brings more than one token; use either the parameter token or the header Authorization, once",
		Header: "WWW-Authenticate: Bearer error=\"invalid_request\"\r\n"}
)

const invalidToken = "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"

const addressReason = "there are as many connections from this address as there may be; close some or try again"

// RejectNotFound is for plain HTTP where nothing answers it.
func RejectNotFound(path string) *Rejection {
	return &Rejection{Status: 404, Reason: "there is nothing at " + quote(path) +
		"; this server is for WebSockets alone"}
}

// RejectOrigin is for a browser with a page whose origin may not connect. It names the
// origin, so that the operator of the page and the server sees what to allow.
func RejectOrigin(origin string) *Rejection {
	return &Rejection{Status: 403, Reason: "pages of the origin " + quote(origin) + " may not connect to this server"}
}

// After is the rejection with a Retry-After header of so many seconds (RFC 9110 §10.2.3).
func (r *Rejection) After(seconds int) *Rejection {
	later := *r
	later.Header += "Retry-After: " + strconv.Itoa(seconds) + "\r\n"
	return &later
}

// rejectHeadSize is for a request head that is too long, mostly because of one header.
func rejectHeadSize(bytesMax int, longest string) *Rejection {
	return &Rejection{Status: 431, Reason: "the request head is over " + strconv.Itoa(bytesMax) + " bytes; its longest line is " + quote(longest) +
		", so send less in that, or start the server with a larger --handshake-max"}
}

// rejectTargetSize is for a request head that is too long because of its URL.
func rejectTargetSize(bytesMax int) *Rejection {
	return &Rejection{Status: 414, Reason: "the request head is over " + strconv.Itoa(bytesMax) +
		" bytes because of its URL; send data in messages and not in the URL, or start the server with a larger --handshake-max"}
}

// Rejections by ReadProxy.
var (
	rejectNoProxy      = &Rejection{Status: 400, Reason: "this proxy is trusted to begin with a PROXY protocol header, but the connection begins with something else"}
	rejectProxyLine    = &Rejection{Status: 400, Reason: "the PROXY protocol header is not of the form PROXY TCP4 SOURCE DESTINATION PORT PORT"}
	rejectProxyVersion = &Rejection{Status: 400, Reason: "the PROXY protocol header is of an unknown version or command"}
	rejectProxyFamily  = &Rejection{Status: 400, Reason: "the PROXY protocol header is of an unknown family of addresses"}
	rejectProxySize    = &Rejection{Status: 400, Reason: "the PROXY protocol header is too long, or too short for its addresses"}
)

// Rejections by ReadRequest.
var (
	rejectProxyUnasked = &Rejection{Status: 400, Reason: "this begins with a PROXY protocol header, which is read with --proxy-protocol on, " +
		"and only from addresses in --trusted-proxies"}
	rejectRequestLine   = &Rejection{Status: 400, Reason: "this is not an HTTP request line; it should look like GET / HTTP/1.1"}
	rejectTargetSpace   = &Rejection{Status: 400, Reason: "the URL has a space in it; write %20"}
	rejectTargetByte    = &Rejection{Status: 400, Reason: "the URL has characters beyond ASCII in it; write each byte of them as % and two hexadecimal digits, as encodeURI does"}
	rejectTargetControl = &Rejection{Status: 400, Reason: "the URL has a control character in it; write % and its two hexadecimal digits"}
	rejectEscape        = &Rejection{Status: 400, Reason: "the URL has a % without two hexadecimal digits behind it; % itself is written %25"}
	rejectFragment      = &Rejection{Status: 400, Reason: "the URL has a # in it; what is behind it is for the client alone, and a # itself is written %23"}
	rejectTarget        = &Rejection{Status: 400, Reason: "the request target is neither a path that begins with a slash nor a URL of http, https, ws or wss"}
	rejectConnect       = &Rejection{Status: 405, Reason: "CONNECT is for proxies, and this server is none", Header: "Allow: GET, HEAD\r\n"}
	rejectVersion       = &Rejection{Status: 400, Reason: "the request line must end with the version of HTTP and nothing behind it, as in GET / HTTP/1.1"}
	rejectMajorVersion  = &Rejection{Status: 505, Reason: "this server speaks HTTP/1.1; let the client, or the proxy before it, use that in place of another version"}
	rejectBareLF        = &Rejection{Status: 400, Reason: "each line of the request must end with CR LF, but one ends with LF alone"}
	rejectBareCR        = &Rejection{Status: 400, Reason: "each line of the request must end with CR LF, but one has a CR alone"}
	rejectFolded        = &Rejection{Status: 400, Reason: "a header line begins with white space; folded headers are no longer allowed"}
	rejectFieldSpace    = &Rejection{Status: 400, Reason: "a header has white space before its colon"}
	rejectField         = &Rejection{Status: 400, Reason: "a header line is not of the form Name: value"}
	rejectControl       = &Rejection{Status: 400, Reason: "a header has a control character in its value"}
	rejectNoHost        = &Rejection{Status: 400, Reason: "the Host header is missing, which HTTP/1.1 needs"}
	rejectHost          = &Rejection{Status: 400, Reason: "the Host header is not a host and perhaps a port, such as example.org or [::1]:1234"}
	rejectHostTwice     = &Rejection{Status: 400, Reason: "the Host header is there twice"}
	rejectOriginTwice   = &Rejection{Status: 400, Reason: "the Origin header is there twice"}
	rejectKeyTwice      = &Rejection{Status: 400, Reason: "the Sec-WebSocket-Key header is there twice"}
	rejectVersionTwice  = &Rejection{Status: 400, Reason: "the Sec-WebSocket-Version header is there twice"}
	rejectBody          = &Rejection{Status: 400, Reason: "the headers contradict each other or are wrong about the length of the body"}
	rejectCoding        = &Rejection{Status: 501, Reason: "the body has a transfer coding other than chunked"}

	rejectOldUpgrade = &Rejection{Status: 426, Reason: "a WebSocket handshake needs HTTP/1.1, but this is HTTP/1.0, which nginx uses unless it is told " +
		nginxMend}
	rejectUpgradeMethod    = &Rejection{Status: 405, Reason: "a WebSocket handshake is a GET request", Header: "Allow: GET\r\n"}
	rejectUpgradeBody      = &Rejection{Status: 400, Reason: "a WebSocket handshake has no body"}
	rejectNoUpgrade        = &Rejection{Status: 426, Reason: "a WebSocket handshake needs the header Upgrade: websocket; a proxy in between drops it unless it is told to pass it on; in nginx " + nginxMend}
	rejectNoConnection     = &Rejection{Status: 426, Reason: "a WebSocket handshake needs the header Connection: Upgrade; a proxy in between drops it unless it is told to pass it on; in nginx " + nginxMend}
	rejectWebSocketVersion = &Rejection{Status: 426, Reason: "this server speaks WebSocket version 13 only", Header: "Sec-WebSocket-Version: 13\r\n"}
	rejectNoKey            = &Rejection{Status: 400, Reason: "the Sec-WebSocket-Key header is missing"}
	rejectKey              = &Rejection{Status: 400, Reason: "the Sec-WebSocket-Key is not base64 of 16 bytes"}
	rejectSubprotocol      = &Rejection{Status: 400, Reason: "Sec-WebSocket-Protocol is not a list of tokens with commas between them"}
	rejectExtensions       = &Rejection{Status: 400, Reason: "Sec-WebSocket-Extensions is not a list of extensions and their parameters, as in permessage-deflate; client_max_window_bits"}
)

// nginxMend is what the most common proxy has to be told.
const nginxMend = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"

// Error is the status and the reason in one line.
func (r *Rejection) Error() string {
	return strconv.Itoa(r.Status) + " " + statusText(r.Status) + ": " + r.Reason
}

// AppendTo appends the whole HTTP response. The connection is to be closed after it. The
// caller owes a Header of whole lines.
func (r *Rejection) AppendTo(dst []byte) []byte {
	dst = appendStatusLine(dst, r.Status)
	dst = append(dst, r.Header...)
	if r.Status == 426 {
		// 426 must name what to upgrade to, and the sender of Upgrade must also list it in
		// Connection (RFC 9110 §15.5.22, §7.8).
		dst = append(dst, "Upgrade: websocket\r\nConnection: Upgrade, close\r\n"...)
	} else {
		dst = append(dst, "Connection: close\r\n"...)
	}
	dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"...)
	dst = appendContentLength(dst, len(r.Reason)+1)
	dst = append(dst, "\r\n"...)
	dst = append(dst, r.Reason...)
	return append(dst, '\n')
}

func appendStatusLine(dst []byte, status int) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ') // required even if the text is empty (RFC 9112 §4)
	dst = append(dst, statusText(status)...)
	return append(dst, "\r\n"...)
}

func appendContentLength(dst []byte, bodyBytes int) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(bodyBytes), 10)
	return append(dst, "\r\n"...)
}

// statusText has the statuses that this server sends (RFC 9110 §15, RFC 6585). It is a table
// of our own because this package has no sockets and does not import net/http.
func statusText(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 505:
		return "HTTP Version Not Supported"
	}
	return ""
}

// quotedBytesMax bounds how much of a client's own text is sent back to it.
const quotedBytesMax = 64

// quote makes a client's text harmless: printable ASCII in quotes, and short.
func quote(text string) string {
	cut := cutAtRune(text, quotedBytesMax)
	quoted := strconv.QuoteToASCII(cut)
	if len(cut) < len(text) {
		quoted = strings.TrimSuffix(quoted, `"`) + `..."`
	}
	return quoted
}
