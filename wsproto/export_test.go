package wsproto

// buffered is the memory held for messages, in bytes of capacity. It is at most twice
// what has arrived of the partial message, or a small constant (4 KiB) if that is more.
func (r *Reader) buffered() int { return cap(r.message) + cap(r.control) }
