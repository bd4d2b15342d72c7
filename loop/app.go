package loop

import (
	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is to which app of the Pusher protocol a client belongs: the one whose key its path has named. Most belong to the first, and
// take no room for that; of one of a further app its bearer has the app's id.

// appOf is the app of a client whose dialect needs one; nil: it was taken away.
func (s *shard) appOf(c *client) *door.App {
	if b := s.bearer(c); b.belongs() {
		return s.bounds.Apps.ByID(b.app.ID)
	}
	return s.bounds.Apps.First()
}

// belongs says whether b belongs to a further app.
func (b *bearer) belongs() bool { return b != nil && b.bearerMore != nil && b.app != nil }

// register has a client that has just been let in belong to the app that its request names; false: there is none, and it was closed. Before
// that it hears nothing: what a client of this dialect hears first decides whether it ever comes back.
func (s *shard) register(c *client, req *wsproto.Request) bool {
	key, why, ok := dialect.PusherRequest(req.Path, req.Query)
	app := s.bounds.Apps.ByKey(key)
	if ok && app == nil {
		why, ok = dialect.CauseUnknownApp, false
	}
	switch {
	case !ok:
		s.close(c, why)
	case !app.First:
		s.known(c).extend().app = app
	}
	return ok
}

// channelCommand does a command of a client whose dialect has channels. What it names is a channel of its app, and from here on the
// channel's group.
func (s *shard) channelCommand(c *client, cmd *dialect.Command) dialect.ErrorCode {
	app := s.appOf(c)
	if app == nil { // since the last reload, and so it is about to be closed
		s.close(c, dialect.CauseAppOff)
		return ""
	}
	if !app.First && cmd.Group != nil {
		cmd.Group = []byte(app.Group(borrowString(cmd.Group)))
	}
	if s.bounds.TokensOnly && cmd.Verb == dialect.AddGroup && len(cmd.Auth) == 0 && !s.hasToken(c) {
		count(&s.count.RefusedBy, refusedForbidden)
		return dialect.ErrForbidden
	}
	switch cmd.Verb {
	case dialect.AddGroup:
		return s.subscribe(c, app, cmd)
	case dialect.LeaveGroup:
		return s.quit(c, cmd.Group, cmd.ID)
	case dialect.SendToGroup:
		return s.sendEvent(c, app, cmd)
	case dialect.SignIn:
		return s.signIn(c, app, cmd)
	case dialect.Respond:
		s.answerOK(c, dialect.Respond, nil, cmd.ID)
	case dialect.Close:
		s.closeWith(c, cmd.Code, cmd.Reason)
	}
	return ""
}

// dismiss closes, after a reload, the clients whose app is not there any more, or is not the same: its key has changed, or it was the
// first and is not, or the other way round, so that its channels are other groups. And it takes clients of other dialects out of groups
// that are shut to them from now on: who has joined those under their names before there was the app would hear all that is said in it.
func (s *shard) dismiss(was, is *bounds) {
	same := func(app *door.App) bool {
		now := is.Apps.ByID(app.ID)
		return now != nil && now.Key == app.Key && now.First == app.First
	}
	all, shutting := true, false
	for _, id := range was.Apps.IDs() {
		all = all && same(was.Apps.ByID(id))
	}
	for _, id := range is.Apps.IDs() {
		app := was.Apps.ByID(id)
		shutting = shutting || was.Apps == nil || !is.Apps.ByID(id).First && (app == nil || app.First)
	}
	if all && !shutting {
		return
	}
	last := s.serial // who comes later belongs to the apps that there are now
	s.hub.errands.Add(1)
	s.beginErrand(&errand{result: make(chan int, 1), do: func(s *shard, c *client) bool {
		switch {
		case !s.entry(c).NeedsApp:
			return shutting && s.shutOut(c)
		case int32(c.serial-last) > 0:
			return false
		}
		app := was.Apps.First()
		if b := s.bearer(c); b.belongs() {
			app = was.Apps.ByID(b.app.ID)
		}
		switch {
		case app != nil && same(app):
			return false
		case app == nil || s.bounds.Apps.ByKey(app.Key) == nil:
			s.close(c, dialect.CauseAppOff)
		default:
			s.close(c, dialect.CauseBusy) // it may come back at once, to the app as it is now
		}
		return true
	}})
}

// shutOut takes a client out of the groups that are shut to it. It goes downwards, as what fills a gap comes from above.
func (s *shard) shutOut(c *client) (any bool) {
	for at := c.groupCount() - 1; at >= 0; at-- {
		if g := c.membership(at).group; s.shuts(c, borrowBytes(g.name)) {
			any = unsubscribing(g.name)(s, c) || any
		}
	}
	return any
}
