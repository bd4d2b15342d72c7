package common

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// Options reads the command line, or prints what is wrong with it and exits with 2.
func Options() (port int, batch bool) {
	flag.IntVar(&port, "port", 0, "`port` of 127.0.0.1 to listen on")
	form := flag.String("form", "usual", "usual or batch")
	flag.Parse() // exits 2 itself
	wrong := ""
	switch {
	case port < 1 || port > 65535:
		wrong = "--port must be given, 1 to 65535"
	case *form != "usual" && *form != "batch":
		wrong = "--form must be usual or batch"
	case flag.NArg() > 0:
		wrong = "unexpected argument " + flag.Arg(0)
	}
	if wrong != "" {
		fmt.Fprintln(os.Stderr, wrong)
		os.Exit(2)
	}
	return port, *form == "batch"
}

// Listen opens the port, or prints why it cannot and exits with 1.
func Listen(port int) net.Listener {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		Fail(err)
	}
	return listener
}

// Fail prints what is wrong and exits with 1.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Serve prints that the server listens, and returns when it is told to end.
func Serve(port int) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	fmt.Printf("listening 127.0.0.1:%d\n", port)
	<-ended
}
