package loop

import (
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// A client that pipelines without end is answered in portions.
func TestRepliesAreSentInPortions(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	var in []byte
	for range 5000 {
		in = wsproto.AppendMaskedFrame(in, wsproto.OpText, [4]byte{}, []byte(`{"cmd":"leave_group","group_id":"1","id":1}`))
	}
	c.shard.traffic(c.client, in)
	if len(c.out) != 5000*len(dialect.AppendOK(nil, []byte("1"))) {
		t.Errorf("replies: got %d bytes", len(c.out))
	}
	if most := replyBytesMax + 512; c.most > most {
		t.Errorf("largest write: got %d bytes, want at most %d", c.most, most)
	}
}
