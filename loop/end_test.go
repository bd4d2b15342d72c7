package loop

import "testing"

func TestWhoDoesNotEndItsSideIsCutAndCounted(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	c.shard.traffic(c.client, []byte("\xff\xff"))
	st.ticks(int(st.hub.bounds.Load().closeTicks) - 1)
	if got := st.hub.Snapshot().Total().EndsCut; got != 0 || c.closed {
		t.Errorf("before its time: got %d cut, closed %v, want 0 and not closed", got, c.closed)
	}
	st.ticks(2)
	if got := st.hub.Snapshot().Total().EndsCut; got != 1 || !c.closed {
		t.Errorf("after its time: got %d cut, closed %v, want 1 and closed", got, c.closed)
	}
}
