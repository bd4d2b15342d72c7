// Package secure is the server's side of TLS connections that are driven by bytes: what has come is handed in, what is to be sent comes
// out, and nobody waits for a socket.
//
// The rule: only this package calls crypto/tls. It knows no socket, no client and no loop, and is told by its caller when something has
// come; a test of it fails if a new Go changes what it rests on (rest_test.go).
//
// A connection has two lives. Its handshake is crypto/tls's, which cannot be interrupted where it waits for the peer; so it runs on a
// goroutine of its own (handshake.go), up to when it is done. From then on there is none, and the connection is touched by one goroutine
// at a time: Open decrypts what has come, a whole record at a time, and Seal encrypts (conn.go). If the connection is to be served by
// net/http, Leave makes an ordinary net.Conn of it.
package secure
