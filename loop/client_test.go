package loop

import (
	"testing"
	"unsafe"

	"ringcast/wsproto"
)

// A million clients with 16 bytes more are 16 MB, and a field is added in a second.
func TestAClientFitsItsSizeClass(t *testing.T) {
	if got := unsafe.Sizeof(client{}); got > 80 {
		t.Errorf("a client has %d bytes, want at most 80", got)
	}
	if got := unsafe.Sizeof(extra{}); got > 80 {
		t.Errorf("what a client of two groups has beside has %d bytes, want at most 80", got)
	}
}

func TestABearerFitsItsSizeClass(t *testing.T) {
	if got := unsafe.Sizeof(bearer{}); got > 32 {
		t.Errorf("a bearer has %d bytes, want at most 32", got)
	}
	if got := unsafe.Sizeof(bearerMore{}); got > 112 {
		t.Errorf("one that has shown a token has %d bytes beside, want at most 112", got)
	}
}

// What a membership costs beyond the client itself, averaged over joins: the growth of the group's list.
func TestAClientOfOneGroupIsOneAllocation(t *testing.T) {
	s := fakeHub(1).shards[0]
	join := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(`{"cmd":"add_group","group_id":"g"}`))
	in := make([]byte, len(simRequest)+len(join))
	allocs := testing.AllocsPerRun(10_000, func() {
		copy(in[copy(in, simRequest):], join)
		s.hub.connections.Add(1)
		s.traffic(s.opened(nullConn{}), in)
	})
	if allocs != 1 { // an integer: the few that grow lists are rounded away
		t.Errorf("allocations of a client that connects and joins: got %v, want 1", allocs)
	}
	for _, c := range s.clients {
		if c.groupCount() != 1 || c.extra != nil {
			t.Fatalf("client %d: got %d groups, extra %v, want one and nothing beside", c.Number(), c.groupCount(), c.extra)
		}
	}
}
