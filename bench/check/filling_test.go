package check

import (
	"bytes"
	"compress/flate"
	"testing"
)

func TestObjectFillingsAreLikeJSONInEveryProcess(t *testing.T) {
	for _, size := range []int{StampBytes, 64, 1024, 65536} {
		all, again := ObjectFillings(size), ObjectFillings(size)
		for n := range uint32(2 * objectFillings) {
			b := all.Of(n)
			if len(b) != size-StampBytes || !bytes.Equal(b, again.Of(n)) || bytes.ContainsAny(b, `"\`) {
				t.Errorf("%d bytes, message %d: got %d bytes of %.60q", size, n, len(b), b)
			}
		}
		if size < 1024 {
			continue
		}
		var packed bytes.Buffer
		w, _ := flate.NewWriter(&packed, flate.DefaultCompression)
		w.Write(all.Of(0))
		w.Close()
		if ratio := float64(size) / float64(packed.Len()); ratio < 1.5 || ratio > 6 { // as JSON of applications does
			t.Errorf("%d bytes are compressed by a factor of %.1f", size, ratio)
		}
		if bytes.Equal(all.Of(0), all.Of(1)) {
			t.Error("two messages, one after the other, have the same filling")
		}
	}
}
