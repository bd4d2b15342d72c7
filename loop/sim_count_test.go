package loop

import (
	"strings"

	"ringcast/loop/door"
)

// This file is what pages in a simulated world hear of how many members their channels have. At rest they have heard how many there are.

// withPages has a world's server have an app.
func (b *bounds) withPages() {
	app := stageApp
	app.ClientEventsPerSecond, app.SubscriptionCount = door.AppClientEventsTop, true
	withApps(b, app)
}

func (p *simPage) hearCount(in *simChannel, channel string, members int) {
	p.w.must(members > 0 && strings.HasPrefix(channel, "private-"), "page %d: hears that there are %d members of %s", p.index, members, channel)
	p.w.pages.counts++
	in.count = members
}

// lookAtCounts has loops tell what has changed last. A turn that panics may have left its tick's look.
func (w *world) lookAtCounts() {
	for n := 0; n < 2 && len(w.pages.all) > 0; n++ {
		w.hub.beat()
		w.settle()
	}
}

func (p *simPage) checkCount(in *simChannel, name string) {
	n := len(p.w.whoIsIn(name))
	p.w.must(in.count == n || !strings.HasPrefix(name, "private-"), "page %d: in %s are %d, by what it has heard %d", p.index, name, n, in.count)
}
