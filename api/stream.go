package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// stream carries out the commands of one request one after the other, and answers each in its place. A request with a short body is
// read and answered as a whole. Of a longer one the commands are read and the answers sent as they come, so that it takes no more memory
// for having more of them.
//
// Owner: that of the exchange.
type stream struct {
	x       *exchange
	source  source
	answers *answers // nil: the answer is sent as a whole
	form    answering

	ctx  context.Context // of the commands since the last read; nil: none has come yet, and the client may take longer than they may
	lost bool            // the client takes no more answers
}

// wholeBytesMax is the longest body that is read as a whole.
const wholeBytesMax = 64 << 10

// flushBytes is how much is answered before it is handed on.
const flushBytes = 16 << 10

// newStream begins to answer a request. If its body cannot be read, status says so, and why.
func (x *exchange) newStream(w http.ResponseWriter, r *http.Request, form answering) (t *stream, status int, why string) {
	t = &stream{x: x, form: form}
	t.source = source{before: func() {}, most: commandBytesMax}
	if r.ContentLength >= 0 && r.ContentLength <= wholeBytesMax {
		status, why = x.readBody(r)
		t.source.buffer, t.source.err = x.in, io.EOF
		return t, status, why
	}
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		return t, http.StatusInternalServerError, "this connection cannot be read and written at once"
	}
	t.source.body, t.source.before, t.source.buffer = r.Body, t.catchUp, x.in
	t.answers = newAnswers(w)
	if _, some := t.source.peek(); !some {
		status, why = t.unread(nil, "the body must be JSON in UTF-8")
		return t, status, why
	}
	return t, 0, ""
}

// catchUp answers everything that was begun, before more is waited for: the client may send more only when it has its answers.
func (t *stream) catchUp() {
	t.x.settle(t.within(), &t.form, 0)
	t.flush()
	t.ctx = nil
}

// within is for how long the loops are waited for.
func (t *stream) within() context.Context {
	if t.ctx == nil {
		t.ctx = t.x.server.patience()
	}
	return t.ctx
}

// begin sends the head of the answer.
func (t *stream) begin(w http.ResponseWriter) {
	if t.answers != nil {
		w.Header()["Content-Type"] = contentJSON
		t.answers.begin()
	}
}

// flush hands on what is answered so far.
func (t *stream) flush() {
	if t.answers == nil || len(t.x.out) == 0 {
		return
	}
	t.lost = t.lost || !t.answers.add(t.x.out)
	t.x.out = t.x.out[:0]
}

// command carries out one command, or begins it. Its parameters are those of a call that was read, or f says why they are none.
func (t *stream) command(m *method, id int64, f *fault) {
	c := command{method: m, id: id, fault: f}
	switch x := t.x; {
	case f == nil && m.offer != nil:
		x.server.count.commands[m.index].Add(1)
		c.bytes = len(x.call.data) + len(x.call.b64data)
		x.begin(t.within(), &t.form, c, func() (Pending, *fault) { return m.offer(x) })
	default:
		x.settle(t.within(), &t.form, 0) // so that it comes behind them
		x.carryOut(t.within(), &t.form, &c)
	}
	t.x.reader.Reset()
	if len(t.x.out) >= flushBytes {
		t.flush()
	}
}

// carryOut answers a command that is not only offered.
func (x *exchange) carryOut(ctx context.Context, a *answering, c *command) {
	f := c.fault
	if f != nil {
		x.server.count.fault(f)
	} else {
		before, any := len(x.out), a.any
		x.out = a.open(x.out, c)
		if f = x.do(ctx, c.method); f == nil {
			x.out = a.close(x.out)
			return
		}
		x.out, a.any = x.out[:before], any
	}
	x.out = a.refuse(x.out, c, f)
}

// broken answers in the place of a command that cannot be read, behind which nothing can be found either.
func (t *stream) broken(err error) {
	f := faultNotJSON
	var tooLong *http.MaxBytesError
	switch ended := t.source.err; {
	case errors.Is(err, errTooLong), errors.As(ended, &tooLong):
		f = faultTooLarge
	case ended != nil && ended != io.EOF:
		f = faultNoBody
	}
	t.command(nil, 0, f)
}

// unread is what is answered to a body in which no command was found; otherwise says why, if what has come is to blame.
func (t *stream) unread(err error, otherwise string) (status int, why string) {
	switch ended := t.source.err; {
	case ended != nil && ended != io.EOF:
		return bodyStatus(ended)
	case errors.Is(err, errTooLong):
		return http.StatusRequestEntityTooLarge, "a command is too long"
	}
	return http.StatusBadRequest, otherwise
}

// end sends what is left.
func (t *stream) end(w http.ResponseWriter, closing string) {
	t.x.settle(t.within(), &t.form, 0)
	t.x.out = append(t.x.out, closing...)
	if t.answers == nil {
		t.x.send(w, http.StatusOK)
		return
	}
	t.flush()
}

// release returns when nothing more is written, also where carrying out a command has panicked, and all of the body has been read:
// net/http must not find the end of one by itself that is read and answered at once, or it panics at the next request.
func (t *stream) release() {
	if t.answers == nil {
		return
	}
	t.answers.end()
	if t.source.err == nil {
		_, _ = io.Copy(io.Discard, t.source.body)
	}
	t.x.in = t.source.buffer
}

// goesOn says whether there is somebody to answer.
func (t *stream) goesOn() bool { return !t.lost }

// validUTF8 says whether a command of a body that was not read as a whole is UTF-8.
func (t *stream) validUTF8(text []byte) bool { return t.answers == nil || utf8.Valid(text) }
