// Package api serves HTTP beside the loops. On the admin address: metrics, health, readiness, profiles, for the operator's machines and not
// for the internet. On the port for WebSockets (Public): whatever is no WebSocket handshake, for everybody. There is the server API (Server)
// too, by which backends publish, ask and act. Its rule: it asks the hub and a port of it, which answer without disturbing a loop; a request
// here never waits for a client's socket, and no client's socket waits for a request here. Who changes something has shown a key.
package api
