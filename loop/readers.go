package loop

import "ringcast/wsproto"

// readers is a shard's stock of idle readers. A client has a reader of its own only while a message of it is partial: it
// then keeps the shared one, and another takes that one's place.
//
// Owner: the loop.
type readers struct {
	shared       *wsproto.Reader // serves every client without partial input; idle between callbacks
	stock        []*wsproto.Reader
	messageBytes int // the bound on a message with which the stock and the shared one were made
	inflater     *wsproto.Inflater
	inflated     map[*client]int // bytes of messages far larger than they came, by who has sent such in this tick; nil: nobody has
}

// mayInflate counts such a message; false: its client has sent too much in this tick. One of any size is let pass.
func (r *readers) mayInflate(c *client, bytes int) bool {
	if r.inflated == nil {
		r.inflated = map[*client]int{}
	}
	before := r.inflated[c]
	r.inflated[c] = before + bytes
	return before == 0 || before+bytes <= inflatedTickMax
}

// inflate is what the readers of clients that compress are lent: one for all, as it is at rest between two messages. It is made when the
// first needs it.
func (r *readers) inflate() *wsproto.Inflater {
	if r.inflater == nil {
		r.inflater = wsproto.NewInflater()
	}
	return r.inflater
}

// readersKeptMax bounds the readers in stock; more are left to the collector.
const readersKeptMax = 64

// adopt changes the bound on a message, by making new readers. One that has a part of a message finishes it under the old bound.
func (r *readers) adopt(messageBytes int) {
	r.messageBytes = messageBytes
	r.stock = nil
	r.replace()
}

// replace makes another idle reader the shared one.
func (r *readers) replace() {
	if n := len(r.stock); n > 0 {
		r.shared = r.stock[n-1]
		r.stock = r.stock[:n-1]
		return
	}
	r.shared = wsproto.NewReader(r.messageBytes)
}

// put takes back a client's reader, unless it has an earlier bound, which would then apply to other clients.
func (r *readers) put(reader *wsproto.Reader) {
	if len(r.stock) < readersKeptMax && reader.MessageBytesMax() == r.messageBytes {
		reader.Reset()
		r.stock = append(r.stock, reader)
	}
}
