// Package api serves HTTP: on the admin address metrics, health, readiness, profiles, and the admin page with what that asks; and the server
// API, by which backends publish, ask and act. Its rule: it asks the hub and a port of it, which answer without disturbing a loop; a
// request here never waits for a client's socket, and no client's socket waits for a request here. Who asks changes nothing; who changes
// something has shown a key. The admin address is for the operator's machines, not for the internet.
package api
