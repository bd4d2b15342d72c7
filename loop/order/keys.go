package order

import (
	"unsafe"

	"ringcast/loop/shrink"
)

// This file has publishes that may be repeated. Who publishes and does not hear what became of it, as its connection broke, cannot know
// whether to say it again. Under a key it can: the group's home, which puts the publishes in order and so sees the first before any
// repeat, remembers the keys of the publishes that it has accepted for Config.KeyTicks, and answers a repeat as it has answered the first.
// Nothing is sent then. A publish that is refused leaves no key, so it can be said again.
//
// What all homes remember is bounded in bytes. Beyond that those that have more than their share forget the oldest first.

// KeyBytesMax is the length of the longest key, in bytes.
const KeyBytesMax = 255

// keyName is a key, which is good in one group.
type keyName struct{ group, key string }

// keyed is a publish that may be repeated.
type keyed struct {
	name    keyName
	receipt Receipt
	tick    uint32 // when it was accepted
	behind  *keyed // the next one; nil: there is none
}

// keys are those that a home remembers, oldest first.
//
// Owner: who holds the home.
type keys struct {
	known          shrink.Map[keyName, *keyed]
	oldest, newest *keyed // nil: there is none
}

// keyedBytes is what a key takes beside its text: its own memory, and its place in the table, of which 7 in 16 slots are full when it has
// just grown.
const keyedBytes = int(unsafe.Sizeof(keyed{})) + int(unsafe.Sizeof(keyName{})+unsafe.Sizeof(uintptr(0))+1)*16/7

// bytes is what the key takes.
func (k *keyed) bytes() int64 {
	return int64(keyedBytes + allocated(len(k.name.group)+len(k.name.key)))
}

// repeated is what was accepted under a key; nil: nothing, or it is forgotten, or its time is over. It has read the clock.
func (h *Home[G, C]) repeated(group, key string) *keyed {
	now, k := h.tick(), h.keys.known.Get(keyName{group, key})
	if k == nil || now-k.tick >= h.all.config.KeyTicks {
		return nil
	}
	return k
}

// noteKey remembers what is accepted under a key, for which repeated has just been nil.
func (h *Home[G, C]) noteKey(group, key string, first Receipt) {
	text := group + key // a copy, as they lie in a message and in a request
	k := &keyed{name: keyName{text[:len(group)], text[len(group):]}, receipt: first, tick: h.histories.now}
	h.keys.known.Put(k.name, k) // one that is over is still in the list, and goes in its turn
	if h.keys.newest == nil {
		h.keys.oldest = k
	} else {
		h.keys.newest.behind = k
	}
	h.keys.newest = k
	h.keptKeys.Add(1)
	h.bookKeys(k.bytes())
	for n := 0; n < keysForOne && h.tooManyKeys(); n++ {
		h.forgetKey()
	}
}

// keysForOne is more than the keys that one key can push out: so many of the shortest take as much as the longest.
const keysForOne = 8

// forgetKey forgets the oldest key.
func (h *Home[G, C]) forgetKey() {
	k := h.keys.oldest
	if h.keys.oldest = k.behind; k.behind == nil {
		h.keys.newest = nil
	}
	if h.keys.known.Get(k.name) == k {
		h.keys.known.Delete(k.name)
	}
	h.keptKeys.Add(-1)
	h.bookKeys(-k.bytes())
}

func (h *Home[G, C]) bookKeys(bytes int64) {
	h.keyBytes.Add(bytes)
	h.all.keyBytes.Add(bytes)
}

// tooManyKeys says whether the home must forget some: all are more than they may be, and its own more than its share.
func (h *Home[G, C]) tooManyKeys() bool {
	most := int64(h.all.config.KeysBytesMax)
	return h.all.keyBytes.Load() > most && h.keyBytes.Load() > most/int64(len(h.all.homes))
}

// expireKeys forgets keys whose time is over, or that are too many, in so many steps at most.
func (h *Home[G, C]) expireKeys(now uint32, most int) (steps int) {
	for ; steps < most && h.keys.oldest != nil && (now-h.keys.oldest.tick >= h.all.config.KeyTicks || h.tooManyKeys()); steps++ {
		h.forgetKey()
	}
	return steps
}

// repeat answers a publish that was accepted before as the first was answered.
func (h *Home[G, C]) repeat(r *Request[G, C], origin int, first *keyed) bool {
	receipt := first.receipt
	receipt.Repeated = true
	if origin < 0 {
		if to := r.told(); to != nil {
			to <- told{receipt: receipt}
		}
		return true
	}
	d := Delivery[G, C]{Op: OpMessage, Offset: receipt.Position.Offset, Client: r.Client, ID: r.ID}
	if r.Asks {
		if !h.fits(origin, d.Bytes()) {
			return false
		}
		h.send(origin, d)
	}
	return true
}

// KeyBytes is the memory of all keys at about this moment. Any goroutine.
func (hs *Homes[G, C]) KeyBytes() int64 { return hs.keyBytes.Load() }
