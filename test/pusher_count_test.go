package test

import (
	"fmt"
	"testing"
)

// Pages of an app that wants it are told how many subscribers their channels have, and no longer once a reload says otherwise.
func TestPagesAreToldHowManySubscribersTheirChannelsHave(t *testing.T) {
	t.Parallel()
	const config = `{"pusher": [{"id": %q, "key": %q, "secret": %q, "subscription-count": %t},
		{"id": "4", "key": "second", "secret": %[3]q, "subscription-count": true}]}`
	// With one loop, which looks at all channels at the same times.
	s, write := configured(t, fmt.Sprintf(config, pusherID, pusherKey, pusherSecret, true), "--loops", "1")
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.connect("b", "bob")
	const step = "pusher:subscription_count"
	for _, channel := range []string{"news", "private-room"} {
		p.subscribe("a", channel)
		equal(t, "first", string(p.of("a", channel, step).Data), `{"subscription_count":1}`)
		p.subscribe("b", channel)
		for _, tab := range []string{"a", "b"} {
			equal(t, tab, string(p.of(tab, channel, step).Data), `{"subscription_count":2}`)
			equal(t, tab, p.do(fmt.Sprintf(`return %s.channel(%q).subscriptionCount`, tab, channel)), "2")
		}
		p.do(fmt.Sprintf(`b.unsubscribe(%q)`, channel))
		equal(t, "left", string(p.of("a", channel, step).Data), `{"subscription_count":1}`)
	}
	p.subscribe("a", "presence-room")
	p.subscribe("b", "presence-room")
	p.of("a", "presence-room", "pusher:member_added")
	write(fmt.Sprintf(config, pusherID, pusherKey, pusherSecret, false))
	equal(t, "exit status of the reload", run("reload", "--run-dir", s.dir).exit, 0)
	p.subscribe("b", "news")
	// When a page of the other app has its number, those of the first have been looked at, too.
	p.do(`key = "second"`)
	p.connect("c", "cid")
	p.subscribe("c", "news")
	equal(t, "of an app that still wants it", string(p.of("c", "news", step).Data), `{"subscription_count":1}`)
	p.do(`b.disconnect()`)
	p.of("a", "presence-room", "pusher:member_removed")
	p.hears("news", "still here", "a")
	equal(t, "numbers after the reload, and in a presence channel", p.has("a", "news", step)+p.has("a", "presence-room", step), 0)
}
