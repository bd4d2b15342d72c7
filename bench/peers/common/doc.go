// Package common has what is the same in all Go peers: the command line, the commands and replies of the protocol, and,
// for the libraries that leave groups to their users, the table of groups.
//
// The rule of this package: nothing in it depends on a library. How connections are accepted, read and written is what the
// comparison is about, so each peer has that itself, even if two of them look alike. It is a module of its own without
// dependencies, so that no peer brings its libraries into another. protocol.mjs is the same for ws and Bun.
package common
