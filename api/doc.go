// Package api serves the admin address over HTTP: metrics, health, readiness, profiles, and the admin page with what that asks. Its rule:
// it asks the hub, which answers without disturbing a loop, and changes nothing; a request here never waits for a client's socket, and
// no client's socket waits for a request here. The address is for the operator's machines, not for the internet.
package api
