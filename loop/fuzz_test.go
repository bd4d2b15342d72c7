package loop

import (
	"fmt"
	"testing"

	"ringcast/wsproto"
)

// FuzzShard throws any bytes, in any portions, at a shard beside a healthy pair of clients. Whatever comes: no panic,
// the healthy member misses nothing, and when all have gone nothing is left.
func FuzzShard(f *testing.F) {
	text := func(s string) []byte {
		return wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, []byte(s))
	}
	f.Add([]byte(simRequest), uint8(7))
	f.Add(append([]byte(simRequest), text(`{"cmd":"add_group","group_id":"g","id":1}`)...), uint8(3))
	f.Add(append([]byte(simRequest), text(`{"cmd":"send_to_group","group_id":"g","message":[1,"x"]}`)...), uint8(200))
	f.Add(append([]byte(simRequest), 0x81, 0xFE, 0, 1, 0, 0, 0, 0, 'x'), uint8(1))
	f.Add(append([]byte(simRequest), 0xC1, 0x80, 0, 0, 0, 0), uint8(9))
	f.Add(append([]byte(simRequest), 0x88, 0x82, 0, 0, 0, 0, 3, 0xE8), uint8(50))
	f.Add([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nPOST"), uint8(5))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), uint8(2))
	f.Fuzz(func(t *testing.T, bytes []byte, portion uint8) {
		w := newWorld(t, uint64(portion)+1)
		for _, a := range w.actors {
			a.hangUp()
		}
		for _, p := range w.pages.all {
			p.sock.close()
		}
		w.pages.all = nil
		w.settle()
		member, sender := w.newActor(0), w.newActor(1)
		for _, a := range []*actor{member, sender} {
			a.sock.room = 1 << 20
		}
		member.join("g", true)
		w.actors = []*actor{member, sender}
		w.settle()

		w.stranger = true
		hostile := w.openSocket()
		for n := 0; len(bytes) > 0 && !hostile.closed; n++ {
			size := min(int(portion)+1, len(bytes))
			chunk := append([]byte(nil), bytes[:size]...)
			bytes = bytes[size:]
			hostile.shard.traffic(hostile.client, chunk)
			if n%8 == 0 {
				sender.publish("g", true)
			}
			w.round()
			hostile.kernel = nil // it reads everything, or so we pretend
		}
		hostile.kernel, hostile.room = nil, 1<<20
		hostile.writable()
		hostile.close()
		w.settle()
		w.checkEnd()
		member.hangUp()
		sender.hangUp()
		w.settle()
		w.checkEmpty()
	})
}

func ExampleHub_NewPort() {
	server, err := Start(Config{Loops: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(exampleContext(), nil)
	port, _ := server.Hub().NewPort()
	receipt, err := port.Say(exampleContext(), "nobody-is-here", Said{Payload: []byte("hello")})
	fmt.Println(receipt.Members, err)
	// Output: 0 <nil>
}
