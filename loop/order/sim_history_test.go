package order

import (
	"fmt"
	"slices"
	"strconv"
)

// This is the plain model of histories. It sees each request at the moment at which its home serves it, in the functions of Env that
// the home calls then, and says what the answer must be.

// simKind is what the kind of a group says of its history.
type simKind struct {
	messages int
	ttl      uint32
	presence bool
	cache    uint32
}

// simLife is the life of a group's numbering.
type simLife struct {
	epoch   Epoch // 0: no answer has named it yet
	kind    simKind
	kinds   uint32 // the simulation's count of changes when the kind was looked at
	base    uint64 // number before the first of said
	said    []simSaid
	floor   uint64 // up to this number everything is dropped
	touched uint32
	heardOf uint64 // up to this number checkTrims has looked at what was dropped
}

type simSaid struct {
	message *Message
	tick    uint32
}

func (l *simLife) top() uint64 { return l.base + uint64(len(l.said)) }

// from is the first number that is kept and not over.
func (l *simLife) from(now uint32) uint64 {
	n := max(l.floor, l.base) + 1
	for n <= l.top() && now-l.said[n-l.base-1].tick >= l.kind.ttl {
		n++
	}
	return n
}

func (l *simLife) setKind(k simKind) {
	l.kind = k
	l.floor = max(l.floor, l.top()-min(l.top(), uint64(k.messages)))
}

// onServe is called while a home serves a request, before it has changed anything but what the kind of the group or the time has.
func (s *sim) onServe() {
	if s.hs == nil {
		return
	}
	if repeats := s.onKeys(); !s.history || repeats {
		return
	}
	s.record()
	for _, h := range s.hs.homes {
		if h.serving == nil {
			continue
		}
		r := h.serving.front()
		name := r.Group()
		life, kind := s.touch(h, name), s.kinds[s.group(name)]
		switch {
		case r.Op == OpPublish:
			s.pending = r.Message
		case r.Op == OpForget && life != nil:
			if s.lives[name] = nil; kind.messages > 0 && len(h.groups.Get(name).locals) > 0 {
				s.begin(name, life.top())
			}
		case r.Op == OpLeave && life != nil:
			life.touched = s.now
		case r.Op == OpJoin || r.Op == OpHistory:
			if life == nil && kind.messages > 0 {
				life = s.begin(name, 0)
			}
			s.askerOf(r).predict(life, r.Op, r.Past, s.now)
		}
	}
}

// touch has the model of a group follow its kind, the time, and what was dropped as too large.
func (s *sim) touch(h *Home[*simPart, *simAsk], name string) *simLife {
	life, kind, hg := s.lives[name], s.kinds[s.group(name)], h.groups.Get(name)
	alone := hg == nil || len(hg.locals) == 0
	if hg == nil && life != nil && (len(life.said) > 0 || life.epoch != 0 || life.base > 0) { // forgotten, by its kind as it was then
		s.must(s.historyMax > 0 || s.now-life.touched >= life.kind.ttl, "group %s is forgotten too soon", name)
		life = nil
	}
	if life != nil && life.kinds != s.kindChanges {
		life.kinds = s.kindChanges
		if life.setKind(kind); kind.messages == 0 {
			life = nil
		}
	}
	if life != nil && alone && s.now-life.touched >= life.kind.ttl {
		life = nil
	}
	if s.historyMax > 0 && life != nil && len(life.said) > 0 && hg != nil && hg.history != nil { // else that is the life before, which the home is about to forget
		life.floor = max(life.floor, hg.history.oldest()-1)
	}
	if s.lives[name] = life; life == nil && kind.messages > 0 && hg != nil && !alone && hg.history == nil {
		life = s.begin(name, hg.offset)
	}
	return life
}

func (s *sim) begin(name string, base uint64) *simLife {
	life := &simLife{base: base, floor: base, heardOf: base, kind: s.kinds[s.group(name)], kinds: s.kindChanges, touched: s.now}
	s.lives[name] = life
	return life
}

// record notes a publish if it was done since it was seen.
func (s *sim) record() {
	m := s.pending
	if m == nil || m.Offset == 0 {
		return
	}
	s.pending = nil
	life := s.lives[m.Group]
	if kind := s.kinds[s.group(m.Group)]; life == nil {
		if kind.messages == 0 {
			return
		}
		life = s.begin(m.Group, 0)
	}
	life.said = append(life.said, simSaid{m, s.now})
	s.must(m.Offset == life.top(), "group %s: a publish has number %d, want %d", m.Group, m.Offset, life.top())
	life.setKind(life.kind)
	life.touched = s.now
	said := s.messageOf(string(m.Payload()))
	said.seq, said.life = m.Offset, life
	s.kept++
	if hg := s.hs.homes[s.hs.Of(m.Group)].groups.Get(m.Group); hg != nil {
		s.order(&hg.headcount, said)
	}
}

// simPasts is how many kinds of answers there are, see judgePast.
const simPasts = 9

// simPast is what an answer must say.
type simPast struct {
	life     *simLife
	past     Past
	messages []*Message
}

// predict says what must come back.
func (a *simAsk) predict(life *simLife, op RequestOp, ask *Ask, now uint32) {
	a.want = &simPast{life: life}
	w := &a.want.past
	if life == nil {
		w.None, w.WasAsked = op == OpHistory, op == OpJoin && ask != nil && ask.Recover
		if !w.None && !w.WasAsked {
			a.want = nil
		}
		return
	}
	top := life.top()
	w.Top = Position{Offset: top}
	if ask == nil {
		return
	}
	var all []*Message // what is there, oldest first
	for n := life.from(now); n <= top; n++ {
		all = append(all, life.said[n-life.base-1].message)
	}
	epochOK := ask.Since.Epoch == 0 || ask.Since.Epoch == life.epoch
	behind := func(m *Message) bool { return m.Offset <= ask.Since.Offset }
	count := func(list []*Message) (bytes int) {
		for _, m := range list {
			bytes += m.Bytes()
		}
		return bytes
	}
	if op == OpJoin {
		if w.WasAsked = ask.Recover; !ask.Recover || !epochOK || ask.Since.Offset > top {
			return
		}
		missed := slices.DeleteFunc(all, behind)
		if uint64(len(missed)) == top-ask.Since.Offset && len(missed) <= ask.MessagesMax && count(missed) <= ask.BytesMax {
			w.Recovered, a.want.messages = true, missed
		}
		return
	}
	if ask.HasSince || ask.Since.Offset > 0 {
		oldest := top + 1
		if len(all) > 0 {
			oldest = all[0].Offset
		}
		if w.Lost = !epochOK || !ask.Reverse && ask.Since.Offset < top && oldest > ask.Since.Offset+1; w.Lost {
			return
		}
		if ask.Reverse {
			all = slices.DeleteFunc(all, func(m *Message) bool { return m.Offset >= ask.Since.Offset })
		} else {
			all = slices.DeleteFunc(all, behind)
		}
	}
	if ask.Reverse {
		slices.Reverse(all)
	}
	if ask.Limit >= 0 {
		all = all[:min(len(all), ask.Limit)]
	}
	all = all[:min(len(all), ask.MessagesMax)]
	for count(all) > ask.BytesMax {
		all = all[:len(all)-1]
	}
	a.want.messages = all
}

// judgePast compares what has come with what was predicted, and learns the epoch.
func (s *sim) judgePast(loop int, d *Delivery[*simPart, *simAsk]) {
	want, past := d.Client.want, d.Past
	if past != nil { // of this alone
		past = &Past{Top: past.Top, Messages: past.Messages, Recovered: past.Recovered, WasAsked: past.WasAsked, OrNone: past.OrNone, Lost: past.Lost, Busy: past.Busy, None: past.None}
		if d.Op == OpJoined && past.Top.Epoch == 0 && !past.WasAsked {
			past = nil
		}
	}
	s.must((past == nil) == (want == nil), "loop %d, group %s: got %+v of its past, want %+v", loop, d.Local.name, d.Past, want)
	if want == nil {
		return
	}
	got := *past
	if life := want.life; life != nil {
		s.learn(d.Local.name, life, got.Top.Epoch)
		want.past.Top.Epoch = life.epoch
		s.positions = append(s.positions, got.Top)
	}
	s.must(slices.Equal(got.Messages, want.messages), "loop %d, group %s: got %v of its past, want %v; asked %+v", loop, d.Local.name,
		simOffsets(got.Messages), simOffsets(want.messages), d.Client.past)
	got.Messages = nil
	s.must(fmt.Sprint(got) == fmt.Sprint(want.past), "loop %d, group %s: got %+v, want %+v; asked %+v", loop, d.Local.name, got, want.past, d.Client.past)
	s.pasts[fmt.Sprintf("op %d, asked %v, recovered %v, lost %v, history %v, messages %v", d.Op, got.WasAsked, got.Recovered, got.Lost, got.Top.Epoch != 0, len(want.messages) > 0)]++
}

// learn is told the epoch of a life.
func (s *sim) learn(name string, life *simLife, epoch Epoch) {
	if life.epoch == 0 {
		life.epoch = epoch
		s.must(epoch != 0 && !s.epochs[epoch], "group %s: epoch %d is none, or that of another life", name, epoch)
		s.epochs[epoch] = true
	}
	s.must(epoch == life.epoch, "group %s: epoch %d, want %d", name, epoch, life.epoch)
}

func simOffsets(list []*Message) (n []uint64) {
	for _, m := range list {
		n = append(n, m.Offset)
	}
	return n
}

// ask is what a client wants to know: of a position that some client has had, or of one that nobody had.
func (s *sim) ask() *Ask {
	a := &Ask{Recover: s.rng.IntN(3) > 0, HasSince: s.rng.IntN(4) == 0, Reverse: s.rng.IntN(3) == 0, Limit: s.rng.IntN(5) - 1,
		MessagesMax: []int{0, 1, 3, 1000, 1000}[s.rng.IntN(5)], BytesMax: []int{0, 300, 600, 1 << 20, 1 << 20}[s.rng.IntN(5)]}
	if len(s.positions) > 0 && s.rng.IntN(5) > 0 {
		a.Since = s.positions[len(s.positions)-1-s.rng.IntN(min(len(s.positions), 8))]
		switch s.rng.IntN(5) {
		case 0:
			a.Since.Offset = uint64(max(0, int(a.Since.Offset)+s.rng.IntN(7)-3))
		case 1:
			a.Since.Epoch = 0
		}
	}
	return a
}

// read asks for history, as a member does.
func (s *sim) read(loop, group int) {
	p := s.loops[loop].parts[group]
	if p == nil || p.members == 0 {
		return
	}
	ask := &simAsk{s: s, loop: loop, past: s.ask(), want: &simPast{past: Past{None: true}}}
	s.loops[loop].lanes.Offer(s.hs.Of(p.name), Request[*simPart, *simAsk]{Op: OpHistory, Asks: true, Local: p, Client: ask, ID: "7", Past: ask.past})
	s.loops[loop].woken = true
}

// passTime has time go on, or kinds change, or a loop expire what is over.
func (s *sim) passTime(loop int) {
	switch s.rng.IntN(12) {
	case 0:
		group := s.rng.IntN(s.groups)
		s.kinds[group] = s.kindOf()
		for _, l := range s.loops {
			l.announce[group] = l.announce[group] || s.kinds[group].presence
			l.woken = true
		}
		s.kindChanges++
		s.hs.KindsChanged()
	case 1, 2, 3, 4:
		s.now += uint32(s.rng.IntN(3))
	default:
		s.expire(loop, 1+s.rng.IntN(4))
	}
}

func (s *sim) kindOf() simKind {
	k := simKind{[]int{0, 1, 2, 3, 20}[s.rng.IntN(5)], []uint32{1, 3, 8, 1000}[s.rng.IntN(4)], s.presentMax > 0 && s.rng.IntN(5) > 0, []uint32{0, 2, 10, 1000}[s.rng.IntN(4)]}
	if !s.history {
		k.messages = 0
	}
	if !s.cache {
		k.cache = 0
	}
	return k
}

// expire is a loop's tick, and its turn behind it.
func (s *sim) expire(loop, most int) (more bool) {
	l := s.loops[loop]
	before, messages := s.hs.Histories()
	more = l.lanes.Expire(most)
	after, left := s.hs.Histories()
	s.must(before-after+messages-left <= int64(most), "loop %d: a slice of %d steps has dropped %d messages and %d groups", loop, most, messages-left, before-after)
	if s.held[loop] != nil {
		s.must(more == l.lanes.Keeps(), "loop %d: another one holds the home, and there is more: %v", loop, more)
	}
	l.woken = true
	s.checkHistories()
	s.checkKeys()
	return more
}

// checkHistories holds the books of homes against what they keep, and what was dropped as too much against what was not.
func (s *sim) checkHistories() {
	var sum int64
	for _, h := range s.hs.homes {
		wrong := h.CheckHistories()
		s.must(wrong == "", "home %d: %s", h.index, wrong)
		sum += h.keptBytes.Load()
		s.checkTrims(h)
	}
	s.must(sum == s.hs.HistoryBytes(), "histories take %d bytes, booked %d", sum, s.hs.HistoryBytes())
}

// checkTrims judges what a home has dropped though it was neither over nor more than the kind keeps: nothing that it keeps is older.
func (s *sim) checkTrims(h *Home[*simPart, *simAsk]) {
	oldest, any := uint32(0), false
	for _, hg := range h.groups.All() {
		if y := hg.history; y != nil && y.count > 0 {
			if tick, _ := y.age(); !any || before(tick, oldest) {
				oldest, any = tick, true
			}
		}
	}
	for name, life := range s.lives {
		hg := h.groups.Get(name)
		if life == nil || s.hs.homes[s.hs.Of(name)] != h {
			continue
		}
		dropped := life.top()
		if hg != nil && hg.history != nil {
			dropped = hg.history.oldest() - 1
		}
		for n := max(life.heardOf, life.floor) + 1; n <= dropped && n <= life.top(); n++ {
			if said := life.said[n-life.base-1]; s.now-said.tick < life.kind.ttl {
				s.must(s.historyMax > 0, "group %s: message %d is dropped, and neither old nor too many", name, n)
				s.must(!any || !before(oldest, said.tick), "group %s: message %d of tick %d is dropped, and one of tick %d is not", name, n, said.tick, oldest)
				s.trimmed++
			}
		}
		life.heardOf = max(life.heardOf, dropped)
		if hg != nil { // what is over comes back with a kind that keeps for longer, but for what was dropped
			life.floor = max(life.floor, dropped)
		}
	}
}

// forgetAll has all that is left expire, when nobody is there any more.
func (s *sim) forgetAll() {
	for loop := range s.loops { // the sum is within its bound, whoever has kept most
		for s.expire(loop, 1) {
		}
	}
	s.must(s.historyMax == 0 || s.hs.HistoryBytes() <= s.historyMax, "histories take %d bytes, bound %d", s.hs.HistoryBytes(), s.historyMax)
	s.now += 1000
	for loop := range s.loops {
		for s.expire(loop, 1+s.rng.IntN(3)) {
		}
		s.must(!s.loops[loop].lanes.Keeps(), "home %d still keeps something", loop)
		s.must(s.hs.Home(loop).groups.Len() == 0, "home %d knows %d groups, and nothing of them is kept", loop, s.hs.Home(loop).groups.Len())
	}
	groups, messages := s.hs.Histories()
	s.must(groups == 0 && messages == 0 && s.hs.HistoryBytes() == 0, "%d groups, %d messages, %d bytes are left of all histories", groups, messages, s.hs.HistoryBytes())
}

func (s *sim) group(name string) int { n, _ := strconv.Atoi(name); return n }
