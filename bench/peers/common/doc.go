// Package common is what the Go peers have in common because it is the same in all of them: the command line, the commands
// and replies of the protocol, and, for the libraries that leave groups to their users, the table of groups.
//
// The rule of this package: nothing in it is a matter of a library. How connections are accepted, read and written is what
// the peers are compared for, so it stays with each of them, even where two of them look alike. It is a module of its own,
// without any other, so that no peer brings its libraries into another. protocol.mjs is the same for ws and Bun.
package common
