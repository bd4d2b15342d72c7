package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"ringcast/bench/client"
)

// Exit statuses. A script must be able to tell a faulty server from a bench that could not run.
const (
	exitFine    = 0
	exitFaulty  = 1 // the run took place and the server failed the check
	exitUnable  = 2 // the run did not take place: usage, no server, too few descriptors, interrupted
	timeMax     = 10 * time.Minute
	clientsMax  = 4_000_000
	threadsMax  = 64
	toolPurpose = "Measures a group-push WebSocket server and checks what it delivers."
)

// errFaulty is returned by a verb whose check failed. What failed was printed by the verb.
var errFaulty = errors.New("the check failed")

// errInterrupted: a run that was cut short by the operator proves nothing.
var errInterrupted = errors.New("interrupted: no verdict")

// common are the flags of every verb that talks to a server.
type common struct {
	URL         string         `default:"ws://127.0.0.1:1234/" help:"Server to measure, ws:// or wss://."`
	AllowRemote bool           `help:"Allow a target outside loopback. Only measure machines that you may load."`
	PID         []int          `name:"pid" help:"Processes of the server, for CPU and memory. Default: those that hold the listening socket; name others that work for the server too, such as a Channel server."`
	Threads     int            `default:"1" help:"Generator threads. A group lives on one of them."`
	Dialect     client.Dialect `enum:"plain,centrifuge,pusher" default:"plain" help:"Protocol that the clients speak: plain = the seed protocol; centrifuge = version 2 of the Centrifuge protocol in JSON, at /connection/websocket if the URL has no path; pusher = version 7 of the Pusher protocol, at /app/KEY."`
	appFlags
	wireFlags
	JoinProof string `enum:"reply,probe" default:"reply" help:"How a join is proved: reply = the answer to its id; probe = a message that comes back, for servers that do not answer ids."`
	Status    string `placeholder:"SOCKET" help:"The server's status socket, for heap and allocations (GET /status over HTTP). Default: ringcast's, if it is the one measured."`
	JSON      string `name:"json" placeholder:"FILE" help:"Write the result with machine, flags and histograms to FILE."`

	name      string // of the server in results; empty: the URL
	child     *child // the server, if the bench has started it; else nil
	processes int    // asked for; 0: as few as possible
}

func (c *common) check() error {
	if c.Threads < 1 || c.Threads > threadsMax {
		return fmt.Errorf("--threads must be 1 to %d", threadsMax)
	}
	if c.JoinProof == proofProbe && c.Dialect.AnswersJoins() {
		return fmt.Errorf("--join-proof probe is for servers that do not answer ids: those of --dialect %s do", c.Dialect)
	}
	app, err := c.app(c.Dialect)
	if err != nil {
		return err
	}
	_, err = c.target(c.Dialect, app)
	return err
}

type commandLine struct {
	Connect connectVerb `cmd:"" help:"Open and join clients, hold them; handshakes per second and server memory per client."`
	Ceiling ceilingVerb `cmd:"" help:"Measure the machine itself: a load on a server that does only the necessary work."`
	Compare compareVerb `cmd:"" help:"Start ringcast and other servers in turn, run the same loads on each, print a table."`
	Fanout  fanoutVerb  `cmd:"" help:"Publish to groups and check every delivery; rate, latency, server CPU per delivery."`
	Churn   churnVerb   `cmd:"" help:"The same while other clients connect, join, leave and disconnect all the time; both are checked."`
	//lint:ignore SA5008 kong reads every set tag, each is a variable of the help
	Slow    slowVerb    `cmd:"" set:"size=4096" set:"window=16" set:"time=5s" help:"The same while some members have stopped reading; who is cut off, and what it costs the server and the others."`
	Resume  resumeVerb  `cmd:"" help:"Cut members off, all at once or one by one, who come back and must have missed nothing; what that costs bystanders."`
	Sizes   sizesVerb   `cmd:"" help:"Publish messages of several sizes, compressed and not; what compression saves and costs, with a picture."`
	Post    postVerb    `cmd:"" help:"Publish over HTTP, as backends do; requests per second and server CPU per request, beside a handler that does nothing."`
	Cluster clusterVerb `cmd:"" help:"Publish at several nodes and check that all members hear one order; answers, latency, the limit, nodes that die."`
	Report  reportVerb  `cmd:"" help:"Show result files: tables, CSV, pictures, and the differences between two of them."`
	Front   frontVerb   `cmd:"" hidden:"" help:"nginx in front of ringcast; started by compare only."`
	Helper  helperVerb  `cmd:"" hidden:"" help:"A further process of a bench that needs several; started by the bench only."`
}

// env is what a verb uses of the world outside.
type env struct {
	ctx            context.Context
	stdout, stderr io.Writer
	args           []string
	started        time.Time
	exit           func(status int)
}

func main() {
	runtime.LockOSThread() // the main thread lives as long as the program, which children rely on: see startChild
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var line commandLine
	parser, err := kong.New(&line, kong.Name("bench"), kong.Description(toolPurpose), kong.Writers(stdout, stderr),
		kong.Vars{"peers": peerNames(), "with": withHelp(), "suite": suiteHelp(), "app": benchApp.App, "history": strconv.Itoa(suiteHistory)}, loadDefaults)
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitUnable
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v (see --help)\n", err)
		return exitUnable
	}
	e := &env{ctx: ctx, stdout: stdout, stderr: stderr, args: args, started: time.Now(), exit: os.Exit}
	switch err := parsed.Run(e); {
	case err == nil:
		return exitFine
	case errors.Is(err, errFaulty):
		return exitFaulty
	default:
		fmt.Fprintf(stderr, "bench %s: %v\n", strings.Fields(parsed.Command())[0], err)
		return exitUnable
	}
}
