package common

import (
	"encoding/json"
	"errors"
)

const (
	// MessageMax bounds what a client may send.
	MessageMax = 1 << 20
	// QueueMax bounds what may wait for a client that does not read.
	QueueMax = 64 << 20
	// CompressionMin is from how many bytes on a message is compressed, if that is done at all.
	CompressionMin = 256
)

// Command is what a client sends.
type Command struct {
	Cmd     string          `json:"cmd"`
	Group   string          `json:"group_id"`
	Message *string         `json:"message"`
	ID      json.RawMessage `json:"id"`
}

// Parse reads a command.
func Parse(text []byte) (Command, error) {
	var c Command
	if err := json.Unmarshal(text, &c); err != nil {
		return Command{}, errors.New("not a JSON object of a command")
	}
	if len(c.ID) > 0 && c.ID[0] != '"' && c.ID[0] != '-' && (c.ID[0] < '0' || c.ID[0] > '9') {
		return Command{}, errors.New("id must be a number or a string")
	}
	switch {
	case c.Cmd == "send_to_group" && c.Message == nil:
		return c, errors.New("no message")
	case c.Cmd != "send_to_group" && c.Cmd != "add_group" && c.Cmd != "leave_group":
		return c, errors.New("unknown cmd")
	}
	return c, nil
}

// Answer is the reply to a command, nil if there is none: without an id only errors are answered.
func (c Command) Answer(err error) []byte {
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
	text, _ := json.Marshal(reply) // a parsed id can always be encoded
	return text
}
