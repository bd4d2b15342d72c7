// Package api is the server's face over HTTP on the admin address: metrics, health, readiness, profiles. Its rule: it asks
// the hub, which answers without disturbing a loop, and changes nothing; who is served here waits for nobody's sockets, and
// nobody's sockets wait for who is served here. The address is for the operator's machines, not for the internet.
package api
