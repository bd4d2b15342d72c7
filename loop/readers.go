package loop

import "ringcast/wsproto"

// readers is a shard's stock of readers that hold nothing of any client. A client has one of its own only while a message
// of it is partial; then it keeps the shared one, and another takes that one's place.
//
// Owner: the loop.
type readers struct {
	shared       *wsproto.Reader // serves every client without partial input; idle between callbacks
	stock        []*wsproto.Reader
	messageBytes int // the bound that the stock and the shared one have had from their beginning
}

// readersKeptMax bounds the stock.
const readersKeptMax = 64

// adopt goes over to another bound. Idle readers are made anew; one that has a part of a message finishes it.
func (r *readers) adopt(messageBytes int) {
	r.messageBytes = messageBytes
	r.stock = nil
	r.replace()
}

// replace puts another reader in the place of the shared one.
func (r *readers) replace() {
	if n := len(r.stock); n > 0 {
		r.shared = r.stock[n-1]
		r.stock = r.stock[:n-1]
		return
	}
	r.shared = wsproto.NewReader(r.messageBytes)
}

// put takes a reader back from a client. Not one of an earlier bound: it would serve others by that.
func (r *readers) put(reader *wsproto.Reader) {
	if len(r.stock) < readersKeptMax && reader.MessageBytesMax() == r.messageBytes {
		reader.Reset()
		r.stock = append(r.stock, reader)
	}
}
