// Package door decides which connections are admitted: from which addresses, for pages of which origins, and how many in a
// second.
//
// The rule of the package: it takes addresses, text and time, and answers yes or no. It knows no connection, no client and no
// loop, and imports nothing of ours but assert and shrink. Any goroutine may use what it keeps, except where a type says
// otherwise.
package door
