package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

// messageMax bounds what a client may send, and queueMax what may wait for a client that does not read.
const (
	messageMax = 1 << 20
	queueMax   = 64 << 20
)

// options reads the command line, or says what is wrong with it and exits 2.
func options() (port int, batch bool) {
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

// command is what a client sends.
type command struct {
	Cmd     string          `json:"cmd"`
	Group   string          `json:"group_id"`
	Message *string         `json:"message"`
	ID      json.RawMessage `json:"id"`
}

func parse(text []byte) (command, error) {
	var c command
	if err := json.Unmarshal(text, &c); err != nil {
		return command{}, errors.New("not a JSON object of a command")
	}
	if len(c.ID) > 0 && c.ID[0] != '"' && c.ID[0] != '-' && (c.ID[0] < '0' || c.ID[0] > '9') {
		return command{}, errors.New("id must be a number or a string")
	}
	switch {
	case c.Cmd == "send_to_group" && c.Message == nil:
		return c, errors.New("no message")
	case c.Cmd != "send_to_group" && c.Cmd != "add_group" && c.Cmd != "leave_group":
		return c, errors.New("unknown cmd")
	}
	return c, nil
}

// answer is the reply to a command, nil when it asks for none: without an id only errors are answered.
func (c command) answer(err error) []byte {
	var reply struct {
		ID    json.RawMessage `json:"id,omitempty"`
		OK    bool            `json:"ok,omitempty"`
		Error string          `json:"error,omitempty"`
	}
	reply.ID, reply.OK = c.ID, err == nil
	if err != nil {
		reply.Error = err.Error()
	} else if len(c.ID) == 0 {
		return nil
	}
	text, _ := json.Marshal(reply) // an id that was parsed can be written
	return text
}
