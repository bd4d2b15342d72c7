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
