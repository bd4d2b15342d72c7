package api

import (
	"context"
	"strconv"

	"ringcast/dialect"
)

// broadcastMax is how many channels one broadcast may go to: an answer has a part for each.
const broadcastMax = 100_000

// runPublish says something to a group, and tells where it stands in the group's order.
func runPublish(ctx context.Context, x *exchange) *fault {
	p, f := offerPublish(x)
	if f != nil {
		return f
	}
	r, err := p.Wait(ctx)
	if err != nil {
		return unsettled(err)
	}
	x.out = appendReceipt(x.out, &r)
	return nil
}

// offerPublish has a port accept a publish, of which its home's word is yet to come.
func offerPublish(x *exchange) (Pending, *fault) {
	group, f := x.call.group(&x.reader)
	if f != nil {
		return nil, f
	}
	said, f := x.call.said(&x.reader)
	if f != nil {
		return nil, f
	}
	return x.offer(group, said)
}

func (x *exchange) offer(group string, said Said) (Pending, *fault) {
	p, err := x.server.cfg.Backend.Offer(group, said)
	if err != nil {
		return nil, refusal(err)
	}
	return p, nil
}

// appendReceipt appends {"offset":7,"epoch":"…","members":3}. Without history there is neither offset nor epoch.
func appendReceipt(dst []byte, r *Receipt) []byte {
	dst = append(dst, '{')
	if r.Kept {
		dst = append(dst, `"offset":`...)
		dst = strconv.AppendUint(dst, r.Position.Offset, 10)
		dst = append(dst, `,"epoch":"`...)
		dst = dialect.AppendEpoch(dst, uint64(r.Position.Epoch))
		dst = append(dst, `",`...)
	}
	dst = append(dst, `"members":`...)
	dst = strconv.AppendInt(dst, int64(r.Members), 10)
	return append(dst, '}')
}

// runBroadcast says the same to many groups. It has a result even if it is refused everywhere: each group has an answer of its own.
func runBroadcast(ctx context.Context, x *exchange) *fault {
	if len(x.call.channels) == 0 || x.call.channels[0] != '[' {
		return badRequest("channels must be an array of strings")
	}
	n := 0
	for name := range dialect.Elements(x.call.channels) {
		if n++; n > broadcastMax {
			return faultManyChannel
		} else if name[0] != '"' || string(name) == `""` {
			return badRequest("channels must be an array of strings that are not empty")
		}
	}
	if n == 0 {
		return faultNoChannels
	}
	said, f := x.call.said(&x.reader)
	if f != nil {
		return f
	}
	answers := &answering{between: ","}
	x.out = append(x.out, `{"responses":[`...)
	for text := range dialect.Elements(x.call.channels) {
		name, _ := x.reader.Text(text)
		x.begin(ctx, answers, command{bytes: len(said.Payload), quiet: true}, func() (Pending, *fault) { return x.offer(string(name), said) })
	}
	x.settle(ctx, answers, 0)
	x.out = append(x.out, `]}`...)
	return nil
}
