package client

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The commands of the seed protocol are JSON objects, each in a text message of its own.

func plainCommand(cmd, group string, id int, withID bool) []byte {
	if withID {
		return fmt.Appendf(nil, `{"cmd":"%s","group_id":"%s","id":%d}`, cmd, group, id)
	}
	return fmt.Appendf(nil, `{"cmd":"%s","group_id":"%s"}`, cmd, group)
}

func plainSend(group string) string {
	return fmt.Sprintf(`{"cmd":"send_to_group","group_id":"%s","message":"`, group)
}

const plainSendEnd = `"}`

func checkPlainReply(what string, text []byte, id int) error {
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
