package api

import (
	"net/http"

	"ringcast/dialect"
)

// batch answers POST /api/batch: {"commands":[{"publish":{…}},…]} is answered by {"replies":[{"publish":{…}} or {"error":{…}},…]}. The
// commands are carried out one behind the other, also with "parallel", which allows more than that.
func (x *exchange) batch(w http.ResponseWriter, r *http.Request) {
	t, status, why := x.newStream(w, r, answering{between: ",", named: true})
	defer t.release()
	if status == 0 && !t.findCommands() {
		status, why = t.unread(nil, `the body must be a JSON object with an array "commands"`)
	}
	if status != 0 {
		plain(w, status, why+"\n")
		return
	}
	t.begin(w)
	x.out = append(x.out, `{"replies":[`...)
	for whole := false; t.goesOn(); {
		if c, _ := t.source.peek(); c == ']' && !whole {
			break
		}
		text, err := t.source.value()
		if err == nil && !t.validUTF8(text) {
			err = errCut
		}
		if err == nil {
			err = t.batchCommand(text)
		}
		if err != nil {
			t.broken(err)
			break
		}
		if whole = t.source.skip(','); !whole {
			if c, _ := t.source.peek(); c != ']' {
				t.broken(errCut)
				break
			}
		}
	}
	t.end(w, `]}`)
}

// findCommands reads up to the first element of the array commands. What stands before it is passed over.
func (t *stream) findCommands() bool {
	s := &t.source
	if !s.skip('{') {
		return false
	}
	for {
		key, err := s.value()
		if err != nil || key[0] != '"' {
			return false
		}
		found := string(key) == `"commands"`
		if !s.skip(':') {
			return false
		}
		if found {
			return s.skip('[')
		}
		if _, err := s.value(); err != nil || !s.skip(',') {
			return false
		}
	}
}

// batchCommand carries out {"publish":{…}}. The error says that it is no object.
func (t *stream) batchCommand(text []byte) error {
	x := t.x
	r := &x.reader
	r.Open(text)
	var m *method
	var params []byte
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		if one := methods[string(key)]; one != nil && !dialect.IsMissing(value) {
			m, params = one, value
		}
	}
	if !r.Valid() {
		return errCut
	}
	f := faultMethod
	if m != nil {
		f = x.call.read(r, params)
	}
	t.command(m, 0, f)
	return nil
}
