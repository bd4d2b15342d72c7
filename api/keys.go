package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"
)

// Keys are what a backend shows to use the server API. They are kept as hashes: what does not know the keys cannot tell them, and two
// hashes of the same length are compared in the same time whatever the keys have in common.
//
// Owner: any goroutine. The zero value has none.
type Keys struct {
	hashes atomic.Pointer[[]keyHash] // nobody writes what it points to
}

type keyHash = [sha256.Size]byte

// Set has these keys count from now on, and no others.
func (k *Keys) Set(keys []string) {
	hashes := make([]keyHash, len(keys))
	for i, key := range keys {
		hashes[i] = sha256.Sum256([]byte(key))
	}
	k.hashes.Store(&hashes)
}

// Any says whether there are keys: without, there is no server API.
func (k *Keys) Any() bool {
	hashes := k.hashes.Load()
	return hashes != nil && len(*hashes) > 0
}

// Has says whether a request shows a key that counts: in the header X-API-Key, or as Authorization: apikey KEY, or else, for a client
// that can set no header, as the parameter api_key.
func (k *Keys) Has(r *http.Request) bool {
	if !k.Any() {
		return false
	}
	shown := r.Header.Get("X-API-Key")
	if shown == "" {
		if scheme, key, is := strings.Cut(r.Header.Get("Authorization"), " "); is && strings.EqualFold(scheme, "apikey") {
			shown = strings.TrimSpace(key)
		}
	}
	if shown != "" && k.has(shown) {
		return true
	}
	if !strings.Contains(r.URL.RawQuery, "api_key=") {
		return false
	}
	shown = r.URL.Query().Get("api_key")
	return shown != "" && k.has(shown)
}

// has looks at every key, so that the time says nothing of which one it was.
func (k *Keys) has(shown string) bool {
	hash, found := sha256.Sum256([]byte(shown)), 0
	for _, one := range *k.hashes.Load() {
		found |= subtle.ConstantTimeCompare(one[:], hash[:])
	}
	return found == 1
}
