package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// connectionsVerb lists the running server's connections.
type connectionsVerb struct {
	JSON bool `name:"json" help:"Print a JSON array, one connection per line."`
}

// Help is the longer text of connections --help.
func (*connectionsVerb) Help() string {
	return "Send-Q: bytes that wait for the client. Bytes-R, Bytes-W: bytes received from and written to it."
}

// Run is called by kong.
func (v *connectionsVerb) Run(r *env, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	if v.JSON {
		return r.copyAnswer(dir, "/connections", controlWriteTimeout)
	}
	within, cancel := context.WithTimeout(context.Background(), controlWriteTimeout)
	defer cancel()
	body, err := ask(within, dir, http.MethodGet, "/connections")
	if err != nil {
		return err
	}
	defer body.Close()
	var clients []loop.ClientInfo
	if err := json.NewDecoder(body).Decode(&clients); err != nil {
		return fmt.Errorf("cannot read the server's answer: %w", err)
	}
	_, err = io.WriteString(r.stdout, connectionsText(clients))
	return err
}

// connectionsText is a row per connection, by loop and then in the order of their arrival, and their number.
func connectionsText(clients []loop.ClientInfo) string {
	slices.SortFunc(clients, func(a, b loop.ClientInfo) int {
		return cmp.Or(cmp.Compare(a.Loop, b.Loop), cmp.Compare(a.ID, b.ID))
	})
	t := &table{columns: []column{{"loop", true}, {"id", true}, {"state", false}, {"groups", true}, {"Send-Q", true},
		{"Bytes-R", true}, {"Bytes-W", true}, {"local", false}, {"foreign", false}}}
	for _, c := range clients {
		t.rows = append(t.rows, []string{fmt.Sprint(c.Loop), fmt.Sprint(c.ID), c.State, countText(c.Groups),
			settings.SizeText(int64(c.SendQ)), settings.SizeText(int64(c.BytesIn)), settings.SizeText(int64(c.BytesOut)), c.Local, c.Remote})
	}
	noun := "connections"
	if len(clients) == 1 {
		noun = "connection"
	}
	return fmt.Sprintf("%s%s %s\n", tablePart("CONNECTIONS", t), countText(len(clients)), noun)
}
