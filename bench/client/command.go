package client

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The commands of the seed protocol are JSON objects, each in a text message of its own. Names of groups and texts are
// inserted unchanged: the caller owes that they need no escapes.

// JoinCommand is the command by which a client joins a group; withID asks for the reply that proves it.
func JoinCommand(group string, id int, withID bool) []byte {
	return command("add_group", group, id, withID)
}

// LeaveCommand is the command by which it leaves.
func LeaveCommand(group string, id int, withID bool) []byte {
	return command("leave_group", group, id, withID)
}

func command(cmd, group string, id int, withID bool) []byte {
	if withID {
		return fmt.Appendf(nil, `{"cmd":"%s","group_id":"%s","id":%d}`, cmd, group, id)
	}
	return fmt.Appendf(nil, `{"cmd":"%s","group_id":"%s"}`, cmd, group)
}

// SendCommand is the command that sends a text to a group, up to that text. SendEnd follows it.
func SendCommand(group string) []byte {
	return fmt.Appendf(nil, `{"cmd":"send_to_group","group_id":"%s","message":"`, group)
}

// SendEnd ends a SendCommand.
const SendEnd = `"}`

// NoReply is the cause when the reply to a join does not come.
const NoReply = "join: no reply in time (a server that answers no ids needs --join-proof probe)"

// CheckReply says whether text is the reply that accepts what was asked for, a join or a leave, with this id.
func CheckReply(what string, text []byte, id int) error {
	var reply struct {
		ID    json.Number `json:"id"`
		OK    bool        `json:"ok"`
		Error *struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(text, &reply); {
	case err != nil:
		return fmt.Errorf("%s: the reply is not the JSON of a reply", what)
	case reply.Error != nil:
		return fmt.Errorf("%s: refused as %s", what, reply.Error.Code)
	case reply.ID.String() != strconv.Itoa(id):
		return fmt.Errorf("%s: the reply has another id", what)
	case !reply.OK:
		return fmt.Errorf("%s: the reply is neither ok nor an error", what)
	}
	return nil
}
