package client

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestAResumeSaysItsPosition(t *testing.T) {
	for _, epoch := range []string{"AbcdEfgh", "", `a"b\c` + "\n"} {
		text := Resume("g1", 12, 1<<53-1, epoch)
		var c struct {
			ID        int
			Subscribe struct {
				Channel, Epoch string
				Recover        bool
				Offset         uint64
			}
		}
		if err := json.Unmarshal(text, &c); err != nil || strings.Contains(string(text), "\n") {
			t.Fatalf("%s: %v", text, err)
		}
		if s := c.Subscribe; c.ID != 12 || s.Channel != "g1" || s.Epoch != epoch || !s.Recover || s.Offset != 1<<53-1 {
			t.Errorf("got %s", text)
		}
	}
}

func TestAnAnswerToAJoinIsRead(t *testing.T) {
	for line, want := range map[string]struct {
		id     int
		joined *Joined
		err    string
	}{
		`{"id":7,"subscribe":{}}`: {7, &Joined{}, ""},
		`{"id":7,"subscribe":{"recoverable":true,"epoch":"e","offset":3,"positioned":true}}`:           {7, &Joined{Recoverable: true, Epoch: "e", Offset: 3}, ""},
		`{"subscribe":{"recoverable":true,"epoch":"e","offset":3},"id":7}`:                             {7, &Joined{Recoverable: true, Epoch: "e", Offset: 3}, ""},
		`{"id":7,"subscribe":{"recoverable":true,"epoch":"e","recovered":true,"was_recovering":true}}`: {7, &Joined{Recoverable: true, Epoch: "e", Recovered: true}, ""},
		`{"id":7,"subscribe":{"epoch":"e","publications":[{"data":"A","offset":4},{"data":"B\"","offset":5}],"recovered":true,"offset":3}}`: {7,
			&Joined{Epoch: "e", Offset: 3, Recovered: true, Missed: []Missed{{[]byte("A"), 4}, {[]byte(`B"`), 5}}}, ""},
		`{"id":7,"error":{"code":111,"message":"no","temporary":true}}`: {7, &Joined{Refused: fmt.Errorf("join: refused with 111 %q", "no"), Temporary: true}, ""},
		`{"id":7,"error":{"code":99,"message":"no"}}`:                   {7, &Joined{Refused: fmt.Errorf("join: refused with 99 %q", "no"), Temporary: true}, ""},
		`{"id":7,"error":{"code":103,"message":"no"}}`:                  {7, &Joined{Refused: fmt.Errorf("join: refused with 103 %q", "no")}, ""},
		`{"id":7,"publish":{}}`:                                         {7, nil, "neither to that nor an error"},
		`{"id":7,"subscribe":{"publications":[{"data":7}]}}`:            {0, nil, "not the JSON of a reply"},
		`{"subscribe":{}}`:                                              {0, nil, "has no id"},
		`{"id":07,"subscribe":{}}`:                                      {0, nil, "not the JSON of a reply"},
	} {
		var a Answers
		for range 2 { // the second time it may be known
			id, joined, err := a.Read([]byte(line))
			if id != want.id || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) || !reflect.DeepEqual(joined, want.joined) {
				t.Errorf("%s: got %d, %+v, %v, want %+v", line, id, joined, err, want)
			}
		}
	}
}

func TestTheSameAnswerToOthersIsNotDecodedAgain(t *testing.T) {
	var a Answers
	answer := func(id int) []byte {
		return fmt.Appendf(nil, `{"id":%d,"subscribe":{"epoch":"e","publications":[%s{"data":"A","offset":4}],"recovered":true}}`, id, strings.Repeat(`{"data":"A","offset":4},`, 100))
	}
	_, first, _ := a.Read(answer(7))
	line := answer(4294967295)
	if n := testing.AllocsPerRun(100, func() { a.Read(line) }); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	if id, joined, err := a.Read(line); id != 4294967295 || joined != first || err != nil {
		t.Errorf("got %d, %p, %v, want the first one's answer", id, joined, err)
	}
	for at := range 40 { // different ones, more than are kept
		a.Read(fmt.Appendf(nil, `{"id":1,"subscribe":{"epoch":"%d%s"}}`, at, strings.Repeat("x", 1<<20)))
	}
	if kept := len(a.known) << 20; kept > answersMax {
		t.Errorf("got %d bytes kept, want at most %d", kept, answersMax)
	}
}

func TestAWholeNumberIsReadAsJSONHasIt(t *testing.T) {
	for text, want := range map[string][2]int{"0": {0, 1}, "7,": {7, 1}, "9007199254740991}": {1<<53 - 1, 16}, "10000000000000000": {}, "07": {}, "00": {}, "": {}, "-1": {}, "x": {}} {
		if n, digits := wholeNumber([]byte(text)); n != uint64(want[0]) || digits != want[1] {
			t.Errorf("%q: got %d of %d digits, want %v", text, n, digits, want)
		}
	}
}
