// Package door says who may come in: from which addresses, for pages of which origins, and how many in a second.
//
// The rule of the package: it is handed addresses, text and time, and answers yes or no. It knows no connection, no client
// and no loop, imports nothing of ours but assert and shrink, and what it keeps any goroutine may use, except where a type
// says otherwise.
package door
