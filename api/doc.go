// Package api serves HTTP beside the loops. On the admin address: metrics, health, readiness, profiles, for the operator's machines and not
// for the internet. On the port for WebSockets (Public): whatever is no WebSocket handshake, for everybody. Its rule: it asks the
// hub, which answers without disturbing a loop; a request here never waits for a client's socket, and no client's socket waits for
// a request here.
package api
