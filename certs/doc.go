// Package certs has the certificates of a server: read from files, or obtained from an authority by ACME (RFC 8555). Its rule: a
// handshake never waits for it. GetCertificate looks at what is there; files are read and authorities asked by goroutines beside, and
// what they bring takes the place of what was there at once, or not at all. Connections that are open keep what they began with.
//
//	files     ──► read, checked ──┐                              ┌──► GetCertificate, of any handshake
//	authority ──► obtained ───────┴──► the set that is in force ─┴──► Status, metrics, warnings
//
// Nothing of a key is ever shown: errors name files, and say how to mend what is wrong with them.
package certs
