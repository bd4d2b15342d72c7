package main

import (
	"errors"
	"fmt"
	"strings"

	"ringcast/bench/client"
)

// appFlags are the app of the Pusher protocol whose clients are opened.
type appFlags struct {
	App      string `default:"${app}" placeholder:"ID:KEY:SECRET" help:"With --dialect pusher: the app of the clients. It must allow client events, and enough of them. Default: ${app}."`
	Channels string `enum:"public,private,presence" default:"private" help:"With --dialect pusher: the sort of channels that groups are. Nobody can send to public ones, so these are for connect; in presence ones each client is a user of its own."`
}

// benchApp is the app of servers that the bench starts itself, and benchPusher how ringcast is told of it.
var (
	benchApp    = appFlags{App: "bench:bench-key:bench-secret-0123456789", Channels: "private"}
	benchPusher = `{"id":"bench","key":"bench-key","secret":"bench-secret-0123456789","client-events":1000000}`
)

// app is what clients of a dialect show.
func (f *appFlags) app(dialect client.Dialect) (client.App, error) {
	if dialect != client.Pusher {
		return client.App{}, nil
	}
	parts := strings.SplitN(f.App, ":", 3)
	if len(parts) < 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return client.App{}, errors.New("--app must be of three parts, ID:KEY:SECRET, as ringcast's --pusher")
	}
	begins := map[string]string{"public": client.PublicChannels, "private": client.PrivateChannels, "presence": client.PresenceChannels}[f.Channels]
	return client.App{ID: parts[0], Key: parts[1], Secret: parts[2], Channels: begins}, nil
}

// checkSenders refuses a load that cannot be published in the dialect.
func (c *common) checkSenders(l *load) error {
	switch {
	case !c.Dialect.SendersJoin():
		return nil
	case c.Channels == "public":
		return errors.New("--channels public: clients send to private and presence channels alone")
	case l.MemberPublishers:
		return fmt.Errorf("--member-publishers: in the dialect %s a member does not hear what it has sent", c.Dialect)
	}
	return nil
}
