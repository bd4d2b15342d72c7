// Command echo serves with ringcast's own loops, but sends every message back instead of reading a command from it, as
// conformance tools need it. It adds nothing else, so that the findings of such a tool are valid for the server.
//
//	go run ./test/echo --listen 127.0.0.1:9001
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
)

const (
	messageBytesMax = 16 << 20 // the largest message of the usual case lists
	outboxBytesMax  = 64 << 20 // several of those, for a tool that sends everything before it reads
	stopTimeout     = 5 * time.Second
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to serve on, `host:port`; port 0 takes a free one")
	loops := flag.Int("loops", 2, "event loops")
	compression := flag.Bool("compression", true, "accept permessage-deflate, and compress whatever becomes smaller")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "echo: %q is no flag; --help lists them\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := serve(*listen, *loops, *compression); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// serve echoes until it is told to end, and then reports whether anything panicked, since a panic only closes one client.
func serve(listen string, loops int, compression bool) error {
	asked, quiet := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer quiet()
	server, err := loop.Start(loop.Config{
		Listen: []string{listen}, Loops: loops, Dialects: []dialect.Entry{dialect.Echo},
		Log:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Limits: loop.Limits{MessageBytesMax: messageBytesMax, OutboxBytesMax: outboxBytesMax, Compression: compression, CompressionMin: 1},
	})
	if err != nil {
		return err
	}
	fmt.Printf("echo serves on ws://%s\n", server.Addr())
	select {
	case <-asked.Done():
	case <-server.Done():
		return server.Err()
	}
	patience, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Stop(patience, nil); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if n := server.Hub().Snapshot().Total().Panics; n > 0 {
		return fmt.Errorf("%d panics, see the log", n)
	}
	return nil
}
