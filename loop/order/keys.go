package order

import (
	"strings"
	"sync/atomic"
	"unsafe"

	"ringcast/dialect"
	"ringcast/loop/shrink"
)

// This file has publishes that may be repeated. Who publishes and does not hear what became of it, as its connection broke, cannot know
// whether to say it again. Under a key it can: the group's home, which puts the publishes in order and so sees the first before any
// repeat, remembers the keys of the publishes that it has accepted for Config.KeyTicks, and answers a repeat as it has answered the first.
// Nothing is sent then. A publish that is refused leaves no key, so it can be said again.
//
// What all homes remember is bounded in bytes, for the keys of clients and for those of all others apart: else a client that says many could
// have a backend's forgotten. Beyond that those that have more than their share forget the oldest first.

// KeyBytesMax is the length of the longest key that a port takes, in bytes. Those of clients are longer: a loop puts their users before them.
const KeyBytesMax = dialect.KeyBytesMax

// ClientKeyMark is what the keys of clients begin with, and no others.
const ClientKeyMark = "\xff"

// keyClass is whose keys have a bound together.
type keyClass int

const (
	keysOfPorts keyClass = iota
	keysOfClients
	keyClasses
)

func classOf(key string) keyClass {
	if strings.HasPrefix(key, ClientKeyMark) {
		return keysOfClients
	}
	return keysOfPorts
}

// keyName is a key, which is good in one group.
type keyName struct{ group, key string }

// keyed is a publish that may be repeated.
type keyed struct {
	name    keyName
	receipt Receipt
	tick    uint32 // when it was accepted
	behind  *keyed // the next one; nil: there is none
}

// keys are those of a class that a home remembers, oldest first.
//
// Owner: who holds the home; any goroutine reads the counts.
type keys struct {
	known          shrink.Map[keyName, *keyed]
	oldest, newest *keyed // nil: there is none
	kept           atomic.Int64
	bytes          atomic.Int64
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
	now, k := h.tick(), h.keys[classOf(key)].known.Get(keyName{group, key})
	if k == nil || now-k.tick >= h.all.config.KeyTicks {
		return nil
	}
	return k
}

// noteKey remembers what is accepted under a key, for which repeated has just been nil.
func (h *Home[G, C]) noteKey(group, key string, first Receipt) {
	class := classOf(key)
	keys, text := &h.keys[class], group+key // a copy, as they lie in a message and in a request
	k := &keyed{name: keyName{text[:len(group)], text[len(group):]}, receipt: first, tick: h.histories.now}
	keys.known.Put(k.name, k) // one that is over is still in the list, and goes in its turn
	if keys.newest == nil {
		keys.oldest = k
	} else {
		keys.newest.behind = k
	}
	keys.newest = k
	keys.kept.Add(1)
	h.bookKeys(class, k.bytes())
	for n := 0; n < keysForOne && h.tooManyKeys(class); n++ {
		h.forgetKey(class)
	}
}

// keysForOne is more than the keys that one key can push out: so many of the shortest take as much as the longest.
const keysForOne = 8

// forgetKey forgets the oldest key of a class.
func (h *Home[G, C]) forgetKey(class keyClass) {
	keys := &h.keys[class]
	k := keys.oldest
	if keys.oldest = k.behind; k.behind == nil {
		keys.newest = nil
	}
	if keys.known.Get(k.name) == k {
		keys.known.Delete(k.name)
	}
	keys.kept.Add(-1)
	h.bookKeys(class, -k.bytes())
}

func (h *Home[G, C]) bookKeys(class keyClass, bytes int64) {
	h.keys[class].bytes.Add(bytes)
	h.all.keyBytes[class].Add(bytes)
}

// tooManyKeys says whether the home must forget some of a class: all are more than they may be, and its own more than its share.
func (h *Home[G, C]) tooManyKeys(class keyClass) bool {
	most := int64(h.all.config.KeysBytesMax)
	return h.all.keyBytes[class].Load() > most && h.keys[class].bytes.Load() > most/int64(len(h.all.homes))
}

// keptKeys is how many keys the home remembers, at about this moment. Any goroutine.
func (h *Home[G, C]) keptKeys() (n int64) {
	for class := range h.keys {
		n += h.keys[class].kept.Load()
	}
	return n
}

// expireKeys forgets keys whose time is over, or that are too many, in so many steps at most.
func (h *Home[G, C]) expireKeys(now uint32, most int) (steps int) {
	for class := range keyClasses {
		for keys := &h.keys[class]; steps < most && keys.oldest != nil && (now-keys.oldest.tick >= h.all.config.KeyTicks || h.tooManyKeys(class)); steps++ {
			h.forgetKey(class)
		}
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
	d := Delivery[G, C]{Op: OpRepeated, Offset: receipt.Position.Offset, Client: r.Client, ID: r.ID}
	if r.Asks {
		if !h.fits(origin, d.Bytes()) {
			return false
		}
		h.send(origin, d)
	}
	return true
}

// KeyBytes is the memory of all keys at about this moment. Any goroutine.
func (hs *Homes[G, C]) KeyBytes() (bytes int64) {
	for class := range hs.keyBytes {
		bytes += hs.keyBytes[class].Load()
	}
	return bytes
}
