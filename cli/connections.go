package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// connectionsVerb lists the running server's connections. There may be a million, so it prints rows as they come.
type connectionsVerb struct {
	JSON bool `name:"json" help:"Print a JSON array, one connection per line."`
}

// Help is the longer text of connections --help.
func (*connectionsVerb) Help() string {
	return "Send-Q: bytes that wait for the client. Bytes-R, Bytes-W: bytes received from and written to it. " +
		"kinds: patterns of the kinds of its groups, the first 4 that its first 64 groups are of. " +
		"A connection that is there all the time is listed once; one that comes or goes meanwhile may be missing."
}

// Run is called by kong.
func (v *connectionsVerb) Run(r *env, g *settings.Globals) error {
	dir, err := r.runDir(g)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	late := time.AfterFunc(controlWriteTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	body, err := ask(ctx, dir, http.MethodGet, "/connections")
	if err != nil {
		return err
	}
	defer body.Close()
	in := &flow{from: body, late: late, out: bufio.NewWriter(r.stdout)}
	if v.JSON {
		_, err = io.Copy(struct{ io.Writer }{r.stdout}, in)
	} else {
		err = printConnections(in.out, in)
	}
	switch {
	case in.err == nil || in.err == io.EOF:
		return err
	case context.Cause(ctx) == context.DeadlineExceeded:
		return fmt.Errorf("the list is not complete: nothing more has come for %v", controlWriteTimeout)
	default:
		return fmt.Errorf("the list is not complete: the server has broken it off (%w); it has stopped, or its log says why", in.err)
	}
}

// flow reads an answer that comes in parts. It may take any time as a whole, but the next part only until late. While it waits,
// what was printed is not kept back.
type flow struct {
	from io.Reader
	late *time.Timer
	out  *bufio.Writer
	err  error // of the last Read, but for those of out
}

func (f *flow) Read(p []byte) (n int, err error) {
	f.late.Stop() // whoever reads the output may take any time
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	f.late.Reset(controlWriteTimeout)
	n, f.err = f.from.Read(p)
	return n, f.err
}

// printConnections prints a row per connection as it comes, and then their number.
func printConnections(out *bufio.Writer, in io.Reader) error {
	rows := json.NewDecoder(in)
	if _, err := rows.Token(); err != nil { // the array's bracket
		return fmt.Errorf("cannot read the server's answer: %w", err)
	}
	t := newConnectionsTable()
	n := 0
	for ; rows.More(); n++ {
		var c loop.ClientInfo
		if err := rows.Decode(&c); err != nil {
			return fmt.Errorf("cannot read the server's answer: %w", err)
		}
		if n == 0 {
			t.begin(out, c.Local)
		}
		t.row(out, &c)
	}
	if _, err := rows.Token(); err != nil {
		return fmt.Errorf("cannot read the server's answer: %w", err)
	}
	if n == 0 {
		t.begin(out, "")
	}
	noun := "connections"
	if n == 1 {
		noun = "connection"
	}
	fmt.Fprintf(out, "%s %s\n", countText(n), noun)
	return out.Flush()
}

// connectionsTable is a table whose rows are printed one by one. So its widths are fixed, and a cell that has more moves the rest of
// its row to the right.
type connectionsTable struct {
	table
	widths []int
}

func newConnectionsTable() *connectionsTable {
	return &connectionsTable{
		table{columns: []column{{"loop", true}, {"id", true}, {"state", false}, {"dialect", false}, {"tls", false}, {"deflate", false}, {"groups", true}, {"Send-Q", true},
			{"Bytes-R", true}, {"Bytes-W", true}, {"local", false}, {"foreign", false}, {"kinds", false}}},
		[]int{4, 8, 9, 10, 3, 7, 7, 9, 9, 9, 15, 21, 5}, // 1023.9KiB is 9 wide; 255.255.255.255:65535 is 21
	}
}

// begin prints what stands above the rows. Most often all local addresses are as long as the first.
func (t *connectionsTable) begin(out *bufio.Writer, local string) {
	t.widths[10] = max(t.widths[10], len(local))
	head := t.head(t.widths)
	_, rule, _ := strings.Cut(head, "\n")
	out.WriteString(titled("CONNECTIONS", len(rule)-1) + head)
}

func (t *connectionsTable) row(out *bufio.Writer, c *loop.ClientInfo) {
	kinds := make([]string, len(c.Kinds))
	for i, pattern := range c.Kinds {
		kinds[i] = shortened(pattern, patternRunesMax)
	}
	deflate := ""
	if c.Deflate {
		deflate = "on"
	}
	out.WriteString(t.line([]string{fmt.Sprint(c.Loop), fmt.Sprint(c.ID), c.State, c.Dialect, c.TLS, deflate, countText(c.Groups),
		settings.SizeText(int64(c.SendQ)), settings.SizeText(int64(c.BytesIn)), settings.SizeText(int64(c.BytesOut)), c.Local, c.Remote,
		strings.Join(kinds, " ")}, t.widths))
}
