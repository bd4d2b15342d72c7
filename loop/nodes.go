package loop

import "fmt"

// This file has the words by which a cluster says of several nodes what a hub says of one.

// NodeInfo is what one node of a cluster tells the others of itself.
type NodeInfo struct {
	UID     string `json:"uid"` // of the process
	Name    string `json:"name"`
	Version string `json:"version"`
	Clients int64  `json:"num_clients"`
	Users   int64  `json:"num_users"`
	Members int64  `json:"num_subs"`
	Groups  int64  `json:"num_channels"`
	Uptime  int64  `json:"uptime"` // seconds
}

// Partly says that what was asked or done is that of some nodes of a cluster only: the others have not answered in time, or could not do it.
// It comes beside a result, which is good for those that have.
type Partly struct{ Nodes, Answered int }

// Error says how many nodes have answered.
func (p *Partly) Error() string {
	return fmt.Sprintf("%d of %d nodes have answered", p.Answered, p.Nodes)
}
