package order

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"ringcast/dialect"
)

// This file is what a port says to groups and asks of them, where its caller waits for the home's word.

// Said is what is published by a port.
type Said struct {
	Payload []byte       // UTF-8; may be empty
	JSON    bool         // Payload is the text of a JSON value, which the caller has checked; else it is plain text
	Tags    []byte       // a JSON object on one line, which the caller has checked, and which goes with the message where a dialect has tags; nil: none
	Who     *dialect.Who // the user that says it; nil: none is named
	Key     string       // at most KeyBytesMax bytes, under which it may be repeated; empty: it is said anew each time
	Unkept  bool         // it does not enter the group's history, and has no offset
	Except  string       // the name of the one client, see dialect.Names, that is not sent it; empty: all are
}

// Receipt is a home's word that a publish is accepted.
type Receipt struct {
	Position Position // Kept: the message's place. Else its offset is the number that members are told, if the message has one, of no epoch
	Kept     bool     // the message is in the group's history
	Members  int      // places of the group that were taken on all loops when the home put the message in order
	Repeated bool     // Key was said before: nothing was sent, and the rest is that of the first
}

// told is what a home says to who waits at a port.
type told struct {
	receipt Receipt // of a publish
	past    *Past   // of a question
	err     error
}

// Errors of what a home says.
var (
	ErrNoHistory = errors.New("groups of this kind have no history")
	ErrUnknown   = errors.New("a panic of the server has dropped the request: it is not known whether it was carried out")
)

// Pending is a publish whose caller can wait for the home's word, or not.
//
// Owner: one goroutine.
type Pending struct {
	told  chan told
	ended <-chan struct{}
}

// Offer publishes to a group. It returns without waiting; nil: the message is on its way to the home, whose word Wait gives. What one
// goroutine offers to a group stays in its order. The error is ErrBusy if the lane is full or memory short, which the caller passes on to
// its own client (HTTP 503); or ErrBadGroup, ErrBadMessage, ErrBadKey, ErrBadName, ErrStopping, ErrClosed. Of the arguments it keeps Who alone.
func (p *Port[G, C]) Offer(group string, s Said) (*Pending, error) {
	if err := p.all.env.Accepts(group, s.Payload); err != nil {
		return nil, err
	}
	if len(s.Tags) > 0 {
		if err := p.all.env.Accepts(group, s.Tags); err != nil {
			return nil, err
		}
	}
	if len(s.Key) > KeyBytesMax {
		return nil, ErrBadKey
	}
	r := Request[G, C]{Op: OpPublish}
	r.Message, _ = NewMessage(borrowBytes(group), s.Payload, nil, s.JSON)
	if s.Who != nil || s.Tags != nil || s.Unkept || s.Except != "" {
		r.Message.More = &dialect.More{Who: s.Who, Tags: bytes.Clone(s.Tags), Unkept: s.Unkept}
	}
	if s.Except != "" {
		if _, ok := dialect.PackName(s.Except); !ok {
			return nil, ErrBadName
		}
		r.Message.More.ExceptName = strings.Clone(s.Except)
		if p.all.env.ClientNumber != nil {
			if client, here := p.all.env.ClientNumber(s.Except); here {
				r.Message.More.Except = client
			}
		}
	}
	return p.ask(r, via{key: s.Key})
}

// Wait is the home's word on a publish: its receipt, or ErrBusy if too much of the group is in flight, and then nothing was sent.
// With ctx's error, ErrStopping or ErrUnknown it is not known whether the publish was accepted. It is called once.
func (w *Pending) Wait(ctx context.Context) (Receipt, error) {
	t := w.wait(ctx)
	return t.receipt, t.err
}

// Say is Offer and Wait.
func (p *Port[G, C]) Say(ctx context.Context, group string, s Said) (Receipt, error) {
	w, err := p.Offer(group, s)
	if err != nil {
		return Receipt{}, err
	}
	return w.Wait(ctx)
}

// History reads what is kept of a group, as far as a's own bounds allow, see Ask; None says that groups of its kind have no history, and
// Lost that what was said behind a.Since cannot be had. It comes at its place among what this goroutine says to the group. Errors are those of Offer, but for
// ErrBadMessage, ctx's, and those of Wait. Nobody may write what it returns.
func (p *Port[G, C]) History(ctx context.Context, group string, a Ask) (*Past, error) {
	return p.question(ctx, group, OpHistory, &a)
}

// Presence says who is in a group: None that groups of its kind have no presence, Crowded that they are too many to be listed. Errors are
// those of History.
func (p *Port[G, C]) Presence(ctx context.Context, group string) (*Past, error) {
	return p.question(ctx, group, OpPresence, nil)
}

// Forget drops what is kept of a group's history, and its epoch begins anew: who comes back with a position is told that it is lost. The
// error is ErrNoHistory, or one of those of History.
func (p *Port[G, C]) Forget(ctx context.Context, group string) error {
	past, err := p.question(ctx, group, OpForget, nil)
	if err == nil && past.None {
		err = ErrNoHistory
	}
	return err
}

// question asks a group's home, and waits for its answer.
func (p *Port[G, C]) question(ctx context.Context, group string, op RequestOp, a *Ask) (*Past, error) {
	if err := p.all.env.Accepts(group, nil); err != nil {
		return nil, err
	}
	w, err := p.ask(Request[G, C]{Op: op, Past: a}, via{group: group})
	if err != nil {
		return nil, err
	}
	t := w.wait(ctx)
	return t.past, t.err
}

// ask sends a request whose answer can be waited for.
func (p *Port[G, C]) ask(r Request[G, C], v via) (*Pending, error) {
	w := &Pending{told: make(chan told, 1), ended: p.all.env.Ended}
	v.told = w.told
	r.via = &v
	home := p.all.Of(r.Group())
	sent, err := p.offer(home, &r, false)
	if err == nil && !sent {
		if r.Op == OpPublish {
			p.all.env.Busy(home)
		}
		err = ErrBusy
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Pending) wait(ctx context.Context) told {
	select {
	case t := <-w.told: // also when ctx is over
		return t
	default:
	}
	select {
	case t := <-w.told:
		return t
	case <-ctx.Done():
		return told{err: ctx.Err()}
	case <-w.ended:
		return told{err: ErrStopping}
	}
}
