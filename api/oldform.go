package api

import (
	"io"
	"net/http"

	"ringcast/dialect"
)

// oldForm answers POST /api, as gocent and others use it: a body of {"method":"publish","params":{…}} one behind the other, mostly one a
// line, is answered by as many {"result":{…}} or {"error":{…}}, one a line. What is no such command ends the request, since nobody knows
// where the next one begins: with 400 if it is the first, else with an error in its place.
func (x *exchange) oldForm(w http.ResponseWriter, r *http.Request) {
	t, status, why := x.newStream(w, r, answering{behind: "\n"})
	defer t.release()
	if status != 0 {
		plain(w, status, why+"\n")
		return
	}
	for first := true; t.goesOn(); first = false {
		if _, more := t.source.peek(); !more {
			if t.source.err != io.EOF {
				t.broken(t.source.err)
			}
			break
		}
		text, err := t.source.value()
		var c oldCommand
		if err == nil && t.validUTF8(text) {
			c, err = x.oldCommand(text)
		} else if err == nil {
			err = errCut
		}
		if err != nil {
			if first {
				status, why := t.unread(err, "the body must be JSON objects in UTF-8, one behind the other")
				plain(w, status, why+"\n")
				return
			}
			t.broken(err)
			break
		}
		if first {
			t.begin(w)
		}
		t.command(c.method, c.id, c.fault)
	}
	t.end(w, "")
}

// oldCommand is a command of the old form, whose parameters are in x.call.
type oldCommand struct {
	method *method
	id     int64
	fault  *fault // why it cannot be carried out
}

// oldCommand reads one. The error says that it is no object.
func (x *exchange) oldCommand(text []byte) (c oldCommand, err error) {
	r := &x.reader
	r.Open(text)
	var name, params, id []byte
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		switch string(key) {
		case "method":
			name = value
		case "params":
			params = value
		case "id":
			id = value
		}
	}
	if !r.Valid() {
		return c, errCut
	}
	if n, isInt := dialect.Integer(id, 0, dialect.OffsetMax); isInt {
		c.id = n
	}
	if word, isText := r.Text(name); isText {
		c.method = methods[string(word)]
	}
	if c.method == nil {
		c.fault = faultMethod
	} else {
		c.fault = x.call.read(r, params)
	}
	return c, nil
}
