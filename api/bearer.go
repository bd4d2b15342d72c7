package api

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop"
)

// This file has what a backend does to clients. Each result says how many it was done to: it is no fault that there were none.

// on has act done to the clients that are meant, and appends how many they were. A client that is named and is not there, or was one of
// another process, is none.
func (x *exchange) on(act func(Target) (clients int, err error)) *fault {
	user, isText := x.reader.Text(x.call.user)
	client, isName := x.reader.Text(x.call.client)
	session, isSession := x.reader.Text(x.call.session)
	switch {
	case !isText:
		return badRequest("user must be a string")
	case !isName:
		return badRequest("client must be a string, the name that it was given")
	case !isSession || len(session) > 0:
		return notHere("sessions; name a client")
	case len(user) == 0 && len(client) == 0:
		return faultNobody
	}
	return x.appendClients(act(Target{User: string(user), Name: string(client)}))
}

// appendClients appends to how many clients something was done, if nothing is wrong.
func (x *exchange) appendClients(clients int, err error) *fault {
	some, err := partly(err)
	if err != nil {
		return unsettled(err)
	}
	x.out = append(x.out, `{"clients":`...)
	x.out = strconv.AppendInt(x.out, int64(clients), 10)
	x.out = appendPartly(x.out, some)
	x.out = append(x.out, '}')
	return nil
}

// partly takes out of an error that only some nodes have answered; nil: all have.
func partly(err error) (some *loop.Partly, other error) {
	if errors.As(err, &some) {
		return some, nil
	}
	return nil, err
}

// appendPartly appends ,"nodes":3,"answered":2 if not all have.
func appendPartly(dst []byte, some *loop.Partly) []byte {
	if some == nil {
		return dst
	}
	dst = append(dst, `,"nodes":`...)
	dst = strconv.AppendInt(dst, int64(some.Nodes), 10)
	dst = append(dst, `,"answered":`...)
	return strconv.AppendInt(dst, int64(some.Answered), 10)
}

// runSubscribe makes clients members of a group.
func runSubscribe(ctx context.Context, x *exchange) *fault {
	c := &x.call
	group, f := c.group(&x.reader)
	if f != nil {
		return f
	}
	info, f := c.groupInfo(&x.reader)
	if f != nil {
		return f
	}
	switch ends, isInt := dialect.Integer(c.expireAt, 0, math.MaxInt64); {
	case !isInt:
		return badRequest("expire_at must be a number")
	case ends > 0:
		return notHere("expire_at; unsubscribe when it is time")
	case !dialect.IsMissing(c.data) || !dialect.IsMissing(c.b64data):
		return notHere("data of a subscription; publish to the channel or to one of the client's own")
	case !dialect.IsMissing(c.recoverFrom):
		return notHere("recover_since; read the history")
	}
	return x.on(func(t Target) (int, error) { return x.server.cfg.Backend.Subscribe(ctx, t, group, info) })
}

// infoBytesMax bounds what is told of a member with everything that it says.
const infoBytesMax = 4 << 10

// groupInfo is what others in the group are told of the clients, JSON on one line; nil: nothing.
func (c *call) groupInfo(r *dialect.JSONReader) ([]byte, *fault) {
	info := c.info
	if text, isText := r.Text(c.b64info); !isText {
		return nil, badRequest("b64info must be a string of base64")
	} else if len(text) > 0 {
		var err error
		if info, err = base64.StdEncoding.AppendDecode(nil, text); err != nil || !utf8.Valid(info) || !dialect.IsJSON(info) {
			return nil, badRequest("b64info must stand for JSON")
		}
	}
	if dialect.IsMissing(info) {
		return nil, nil
	}
	if len(info) > infoBytesMax {
		return nil, badRequest("info is longer than 4096 bytes")
	}
	return dialect.AppendLine(nil, info), nil
}

// runUnsubscribe takes clients out of a group.
func runUnsubscribe(ctx context.Context, x *exchange) *fault {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return f
	}
	return x.on(func(t Target) (int, error) { return x.server.cfg.Backend.Unsubscribe(ctx, t, group) })
}

// Close codes that a backend may name: those that are for programs (RFC 6455 §7.4.2).
const codeMin, codeMax = 3000, 4999

// reasonBytesMax is what a Close frame holds (RFC 6455 §5.5.1).
const reasonBytesMax = 123

// runDisconnect closes clients, with a code and a reason if some are named.
func runDisconnect(ctx context.Context, x *exchange) *fault {
	c := &x.call
	for range dialect.Elements(c.whitelist) {
		return notHere("a whitelist of clients; name those that are to go")
	}
	code, reason, f := c.closing(&x.reader)
	if f != nil {
		return f
	}
	return x.on(func(t Target) (int, error) { return x.server.cfg.Backend.Disconnect(ctx, t, code, reason) })
}

// closing is the code and the reason; 0 and empty: none are named.
func (c *call) closing(r *dialect.JSONReader) (code uint16, reason string, f *fault) {
	if dialect.IsMissing(c.disconnect) {
		return 0, "", nil
	}
	var codeText, reasonText []byte
	r.Open(c.disconnect)
	for {
		key, value, ok := r.Next()
		if !ok {
			break
		}
		switch string(key) {
		case "code":
			codeText = value
		case "reason":
			reasonText = value
		}
	}
	n, isInt := dialect.Integer(codeText, 0, math.MaxInt32)
	text, isText := r.Text(reasonText)
	switch {
	case !r.Valid() || !isInt || !isText:
		return 0, "", badRequest(`disconnect must be an object such as {"code":4500,"reason":"…"}`)
	case n != 0 && (n < codeMin || n > codeMax):
		return 0, "", badRequest("a code of disconnect is from 3000 to 4999")
	case len(text) > reasonBytesMax:
		return 0, "", badRequest("a reason of disconnect has 123 bytes at most")
	}
	return uint16(n), string(text), nil
}

// secondsMax is the last second of the year 9999: less than what a clock in milliseconds says, which would shut a user out, or let it
// stay, for ever.
const secondsMax = 253_402_300_799

// userBytesMax is the longest name that a token can say: nobody has a longer one.
const userBytesMax = 255

// runRefresh says until when clients may stay.
func runRefresh(ctx context.Context, x *exchange) *fault {
	c := &x.call
	ends, isInt := dialect.Integer(c.expireAt, 0, secondsMax)
	expired, isBool := dialect.Boolean(c.expired)
	switch {
	case !isInt:
		return badRequest("expire_at must be a time in seconds since 1970")
	case !isBool:
		return badRequest("expired must be true or false")
	case !dialect.IsMissing(c.info):
		return notHere("info of a refresh; it comes with a token")
	case expired:
		ends = 1 // it was over long ago
	}
	return x.on(func(t Target) (int, error) { return x.server.cfg.Backend.Refresh(ctx, t, ends) })
}

// runRevoke has a user's tokens that were issued before a time be refused, and closes the clients that have come with one.
func runRevoke(ctx context.Context, x *exchange) *fault {
	user, isText := x.reader.Text(x.call.user)
	before, isInt := dialect.Integer(x.call.before, 0, secondsMax)
	switch {
	case !isText || len(user) == 0 || len(user) > userBytesMax:
		return badRequest("user must be a string of 1 to 255 bytes")
	case !isInt:
		return badRequest("before must be a time in seconds since 1970")
	case dialect.IsMissing(x.call.before):
		before = time.Now().Unix()
	}
	return x.appendClients(x.server.cfg.Backend.Revoke(ctx, string(user), before))
}
