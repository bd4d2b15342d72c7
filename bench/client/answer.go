package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// AppendPublish appends the command of the seed protocol that sends a text to a group and wants an answer by the id. With a key the
// server carries it out once, however often it is said. None of the strings needs JSON escapes.
func AppendPublish(dst []byte, group string, id int, key, text []byte) []byte {
	dst = append(dst, `{"cmd":"send_to_group","group_id":"`...)
	dst = append(dst, group...)
	dst = strconv.AppendInt(append(dst, `","id":`...), int64(id), 10)
	if len(key) > 0 {
		dst = append(append(dst, `,"key":"`...), key...)
		dst = append(dst, '"')
	}
	dst = append(append(dst, `,"message":"`...), text...)
	return append(dst, plainSendEnd...)
}

// Answered is what a server of the seed protocol says of a publish.
type Answered struct {
	ID   int
	OK   bool
	Seq  uint64 // of OK
	Code string // why not
}

// ReadAnswer reads the answer to a publish.
func ReadAnswer(text []byte) (Answered, error) {
	if id, seq, ok := readOK(text); ok {
		return Answered{ID: id, OK: true, Seq: seq}, nil
	}
	var reply struct {
		ID    json.Number `json:"id"`
		OK    bool        `json:"ok"`
		Seq   *uint64     `json:"seq"`
		Error *struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		return Answered{}, fmt.Errorf("publish: the answer is not the JSON of an answer")
	}
	id, err := strconv.Atoi(reply.ID.String())
	switch {
	case err != nil:
		return Answered{}, fmt.Errorf("publish: an answer without the id")
	case reply.Error != nil && reply.Error.Code != "" && !reply.OK:
		return Answered{ID: id, Code: reply.Error.Code}, nil
	case !reply.OK || reply.Error != nil || reply.Seq == nil:
		return Answered{}, fmt.Errorf("publish: the answer is neither ok with a number nor an error")
	}
	return Answered{ID: id, OK: true, Seq: *reply.Seq}, nil
}

// readOK reads the answer as ringcast writes it, without a decoder.
func readOK(text []byte) (id int, seq uint64, ok bool) {
	rest, begins := bytes.CutPrefix(text, []byte(idKey))
	n, digits := wholeNumber(rest)
	if !begins || digits == 0 || n > IDMax {
		return 0, 0, false
	}
	if rest, begins = bytes.CutPrefix(rest[digits:], []byte(`,"ok":true,"seq":`)); !begins {
		return 0, 0, false
	}
	seq, digits = wholeNumber(rest)
	return int(n), seq, digits > 0 && string(rest[digits:]) == "}"
}
