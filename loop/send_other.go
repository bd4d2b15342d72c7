//go:build !linux

package loop

// rawSend is nil where the fast send path is not known to be right; everything goes through gnet's Conn.Write.
var rawSend func(fd int, p []byte) sent
