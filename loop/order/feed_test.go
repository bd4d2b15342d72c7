package order

import "testing"

func TestAHomeThatIsAlwaysFullLeavesTheOthersTheirTurnAtTheFeed(t *testing.T) {
	const homes = 3
	feed, err := New[anyPart, *anyClient](Config{Loops: homes, LaneSlots: 256, LaneBytes: 1 << 20}, Env{Wake: func(int) {}}).NewFeed()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	fill := func(home int) {
		for h := publishOf("g"); feed.lanes[home].fits(h.bytes()); {
			feed.hear(home, h)
		}
	}
	for full := range homes {
		for home := range homes {
			if home != full {
				feed.hear(home, publishOf("other"))
			}
		}
		others := 0
		for range homes {
			fill(full)
			for _, p := range feed.Collect(nil, takeMax) {
				if p.Group == "other" {
					others++
				}
			}
		}
		if others != homes-1 {
			t.Errorf("beside home %d: got %d of the others' publications, want %d", full, others, homes-1)
		}
		for len(feed.Collect(nil, takeMax)) > 0 {
		}
	}
}

func publishOf(group string) heard {
	m, _ := NewMessage([]byte(group), nil, nil, false)
	return heard{message: m}
}
