package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Resume is the command by which a client joins a group and wants all that was said there behind a position. It is for a client of
// the Centrifuge protocol, as the seed protocol has none. The epoch is what a server has said, so it may be any string.
func Resume(group string, id int, offset uint64, epoch string) []byte {
	quoted, _ := json.Marshal(epoch) // a string can always be encoded
	return fmt.Appendf(nil, `{"id":%d,"subscribe":{"channel":"%s","recover":true,"offset":%d,"epoch":%s}}`, id, group, offset, quoted)
}

// Joined is the answer to a join: a position in the group's history, and what the client has missed, if it asked for that.
type Joined struct {
	Refused   error // the join was not done, and nothing else is known
	Temporary bool  // the same may succeed later

	Recoverable bool // the group has a history
	Recovered   bool // Missed is everything behind the position that was asked for
	Offset      uint64
	Epoch       string
	Missed      []Missed
}

// Missed is a message of an answer.
type Missed struct {
	Text   []byte
	Offset uint64
}

// Answers reads the answers to joins. Clients that come back to one group from one position are told the same bytes but for the id
// of their command, so only the first such answer is decoded: a generator would else be the limit long before a server is.
type Answers struct {
	known map[string]*Joined // by what follows the id
	bytes int                // of the keys
}

// answersMax bounds the memory of Answers, to about three times as much; beyond it they begin anew.
const answersMax = 32 << 20

// Read reads a line. The result is shared: the caller does not change it.
func (a *Answers) Read(line []byte) (id int, j *Joined, err error) {
	id, rest := cutID(line)
	if id == 0 {
		return decodeJoined(line)
	}
	if j = a.known[string(rest)]; j != nil {
		return id, j, nil
	}
	if id, j, err = decodeJoined(line); err != nil {
		return id, j, err
	}
	if a.bytes += len(rest); a.bytes > answersMax || a.known == nil {
		a.known, a.bytes = map[string]*Joined{}, len(rest)
	}
	a.known[string(rest)] = j
	return id, j, nil
}

// cutID takes the id off a reply that begins with it; 0: it does not.
func cutID(line []byte) (id int, rest []byte) {
	rest, ok := bytes.CutPrefix(line, []byte(idKey))
	n, digits := wholeNumber(rest)
	if !ok || digits == 0 || len(rest) == digits || rest[digits] != ',' || n > IDMax {
		return 0, nil
	}
	return int(n), rest[digits:]
}

func decodeJoined(line []byte) (int, *Joined, error) {
	var reply struct {
		ID    json.Number `json:"id"`
		Error *struct {
			Code      uint32 `json:"code"`
			Message   string `json:"message"`
			Temporary bool   `json:"temporary"`
		} `json:"error"`
		Subscribe *struct {
			Recoverable  bool   `json:"recoverable"`
			Recovered    bool   `json:"recovered"`
			Offset       uint64 `json:"offset"`
			Epoch        string `json:"epoch"`
			Publications []struct {
				Data   string `json:"data"`
				Offset uint64 `json:"offset"`
			} `json:"publications"`
		} `json:"subscribe"`
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return 0, nil, fmt.Errorf("join: the reply is not the JSON of a reply: %w", err)
	}
	id, err := strconv.Atoi(reply.ID.String())
	switch s := reply.Subscribe; {
	case err != nil:
		return 0, nil, fmt.Errorf("join: the reply has no id")
	case reply.Error != nil:
		e := reply.Error
		return id, &Joined{Refused: fmt.Errorf("join: refused with %d %q", e.Code, e.Message), Temporary: e.Temporary || e.Code < 100}, nil
	case s == nil:
		return id, nil, fmt.Errorf("join: the reply is neither to that nor an error")
	default:
		j := &Joined{Recoverable: s.Recoverable, Recovered: s.Recovered, Offset: s.Offset, Epoch: s.Epoch}
		for _, p := range s.Publications {
			j.Missed = append(j.Missed, Missed{[]byte(p.Data), p.Offset})
		}
		return id, j, nil
	}
}
