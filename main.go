// Command ringcast holds a great number of browser WebSockets and pushes messages to groups of them.
package main

import (
	"os"

	"ringcast/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
