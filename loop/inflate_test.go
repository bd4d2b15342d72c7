package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// What clients say compressed.

// Messages of a client that compresses may come in parts, and between those of others: each reader is lent what inflates them.
func TestCompressedMessagesComeInPartsBetweenOthers(t *testing.T) {
	st := newStage(1, compressing)
	var clients []*stageConn
	for i := range 4 {
		if i%2 == 0 {
			clients = append(clients, st.deflating(0, "/"))
		} else {
			clients = append(clients, st.enter(0))
		}
	}
	say := func(i int) []byte {
		text := fmt.Sprintf(`{"cmd":"add_group","group_id":"g%d%s","id":1}`, i, strings.Repeat("x", 100))
		if i%2 > 0 {
			return wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, []byte(text))
		}
		frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, []byte(deflated(text)))
		frame[0] |= 0x40
		return frame
	}
	for at := 0; at < 200; at += 7 {
		for i, c := range clients {
			if frame := say(i); at < len(frame) {
				c.shard.traffic(c.client, frame[at:min(at+7, len(frame))])
			}
		}
	}
	for _, c := range clients {
		c.hears(t, 0, `{"id":1,"ok":true}`)
	}
	clients[1].sayDeflated("x") // it has a reader that others compress with
	clients[1].hears(t, 0, "close 1002")
}

func TestABombCostsItsBoundAndIsRefused(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.Compression, b.MessageBytesMax = true, 100_000 })
	c := st.deflating(0, "/")
	c.sayDeflated(strings.Repeat("x", 10<<20))
	c.hears(t, 0, "close 1009")
	if held := st.hub.shards[0].readers.inflate().Held(); held > 1<<20 {
		t.Errorf("%d bytes are held afterwards", held)
	}
	c = st.deflating(0, "/")
	c.sayDeflated("\xff\xfe")
	c.hears(t, 0, "close 1007")
}

// What is in a compressed message counts as if it had come as it is.
func TestWhatComesCompressedCountsAgainstTheRate(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.Compression, b.BytesPerSecond = true, 10_000 })
	st.busy = true
	c := st.deflating(0, "/")
	for range 100 {
		c.sayDeflated(`{"cmd":"nothing","x":"` + strings.Repeat("x", 50_000) + `"}`)
	}
	if texts, _ := c.inflated(t); len(texts) != 1 || texts[0] != "close 1008" {
		t.Errorf("heard %q, want close 1008", texts)
	}
}

func TestEchoSendsCompressedMessagesBackCompressed(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.Compression, b.CompressionMin = true, 1 }, dialect.Echo)
	asIs, compressed := st.enter(0), st.deflating(0, "/")
	for _, text := range []string{long, large} {
		for i, c := range []*stageConn{asIs, compressed} {
			c.say("%s", text)
			c.hears(t, i, text)
		}
		compressed.sayDeflated(text)
		compressed.hears(t, 1, text)
	}
}
