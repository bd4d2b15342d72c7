package door

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// App is an application of the Pusher protocol: the key by which its clients name it, the id by which its backends do, and the secret
// with which these sign. Immutable while in use.
type App struct {
	ID, Key, Secret string // id and key are of the letters of a channel's name

	// First is set by NewApps: the first app has the groups that all dialects share. The names of another app's groups begin with its id
	// and a slash, which no name of a channel has.
	First bool

	ClientEventsPerSecond int // of one connection; beyond it an event is refused with an error. 0: no client may publish
	EventBytesMax         int // data of one event, bytes; beyond it: 413, or an error. 0: AppEventBytes

	Webhook           string // the address of a backend that is told what becomes of channels; empty: none is
	WebhookEvents     string // names of the events that it is told of, with commas between them; empty: of all
	SubscriptionCount bool   // its clients are told how many subscribers their channels have, but where they know who these are
}

// What an app has where the operator says nothing else.
const (
	AppClientEventsPerSecond = 10
	AppEventBytes            = 100 << 10
)

// Bounds of apps, and of what is asked in their name.
const (
	AppsMax            = 1000
	AppIDBytesMax      = 64 // with a slash and a channel's name it is to fit into the name of a group
	AppKeyBytesMax     = 128
	AppChannelBytesMax = 164 // the name of a channel, as a client subscribes to it
	AppNameBytesMax    = 200 // the name of an event, or of a channel as a backend names it
	AppChannelsMax     = 100 // of one trigger
	AppBatchMax        = 10  // events of one batch
	AppEventBytesTop   = 64 << 20
	AppClientEventsTop = 1_000_000
	appSecretBytesMax  = 1 << 10 // longer ones are hashed to less (RFC 2104 §3)
	appWebhookBytesMax = 2 << 10
	appSlash           = "/" // after an app's id, before a channel
	appMarks           = "-_=@,.;"
)

// String is the app as it may be shown: without its secret.
func (a App) String() string { return "app " + a.ID }

// GoString is String, so that no way of printing apps shows a secret.
func (a App) GoString() string { return a.String() }

// GroupPrefix is what the names of the app's groups begin with, before the names of its channels.
func (a *App) GroupPrefix() string {
	if a.First {
		return ""
	}
	return a.ID + appSlash
}

// Group is the name of a channel's group.
func (a *App) Group(channel string) string { return a.GroupPrefix() + channel }

// User is the name by which a user of the app is known here, for the same reason: two apps may both have a user 1.
func (a *App) User(id string) string { return a.GroupPrefix() + id }

// Apps is all apps of a server; a nil one has none. Immutable.
type Apps struct {
	all         []App
	byKey, byID map[string]*App
}

// NewApps makes Apps of a list whose first is the first app, nil of an empty one. The error says which is wrong, by its place or id and
// by no secret, and how to mend it.
func NewApps(apps []App) (*Apps, error) {
	if len(apps) == 0 {
		return nil, nil // which has none
	}
	if len(apps) > AppsMax {
		return nil, fmt.Errorf("%d apps are more than %d", len(apps), AppsMax)
	}
	a := &Apps{all: make([]App, len(apps)), byKey: make(map[string]*App, len(apps)), byID: make(map[string]*App, len(apps))}
	copy(a.all, apps)
	for i := range a.all {
		app := &a.all[i]
		if err := app.check(); err != nil {
			return nil, fmt.Errorf("app %d %w", i+1, err)
		}
		switch {
		case a.byID[app.ID] != nil:
			return nil, fmt.Errorf("app %d has the id of another, %q; give each its own", i+1, app.ID)
		case a.byKey[app.Key] != nil:
			return nil, fmt.Errorf("app %d (%s) has the key of another; give each its own", i+1, app.ID)
		}
		app.First = i == 0
		if app.EventBytesMax == 0 {
			app.EventBytesMax = AppEventBytes
		}
		a.byID[app.ID], a.byKey[app.Key] = app, app
	}
	return a, nil
}

// check says what is wrong with an app, and nothing of its key and secret: who has mistaken their places would be shown a secret.
func (a *App) check() error {
	const letters = "letters, digits and -_=@,.;"
	switch {
	case a.ID == "" || a.Key == "" || a.Secret == "":
		return errors.New("has no id, no key or no secret; give it all three")
	case !IsAppName(a.ID, AppIDBytesMax):
		return fmt.Errorf("has an id that is not of 1 to %d bytes of %s; give it another", AppIDBytesMax, letters)
	case !IsAppName(a.Key, AppKeyBytesMax):
		return fmt.Errorf("(%s) has a key that is not of 1 to %d bytes of %s; give it another", a.ID, AppKeyBytesMax, letters)
	case len(a.Secret) > appSecretBytesMax:
		return fmt.Errorf("(%s) has a secret of more than %d bytes; shorten it", a.ID, appSecretBytesMax)
	case a.Secret != strings.TrimSpace(a.Secret) || strings.ContainsFunc(a.Secret, unicode.IsControl):
		return fmt.Errorf("(%s) has a secret with white space around it, or a line break in it; leave that off", a.ID)
	case a.Secret == a.Key:
		return fmt.Errorf("(%s) has its key as its secret, and a key is known to every page; make another secret with openssl rand -hex 32", a.ID)
	case a.ClientEventsPerSecond < 0 || a.ClientEventsPerSecond > AppClientEventsTop:
		return fmt.Errorf("(%s) has client events of %d a second, where 0 to %d are allowed", a.ID, a.ClientEventsPerSecond, AppClientEventsTop)
	case a.Webhook != "" && !isWebAddress(a.Webhook):
		return fmt.Errorf("(%s) has a webhook that is no address such as https://example.org/webhook; write one, without a user in it", a.ID)
	case a.EventBytesMax < 0 || a.EventBytesMax > AppEventBytesTop:
		return fmt.Errorf("(%s) has events of %d bytes, where 0 to %d are allowed", a.ID, a.EventBytesMax, AppEventBytesTop)
	}
	if name, any := a.unknownEvent(); any {
		return fmt.Errorf("(%s) has among its webhook-events %.100q, which is none; these are %s", a.ID, name, strings.Join(webhookEvents, ", "))
	}
	return nil
}

// IsAppName says whether a text of at most so many bytes is of the letters of which the names of channels, and ids and keys of apps, are.
func IsAppName(text string, most int) bool {
	for _, c := range []byte(text) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(appMarks, c) >= 0) {
			return false
		}
	}
	return text != "" && len(text) <= most
}

// First is the first app, nil if there is none.
func (a *Apps) First() *App {
	if a == nil {
		return nil
	}
	return &a.all[0]
}

// ByKey is the app with a key, or nil. Keys are public, so how long it takes tells nobody anything.
func (a *Apps) ByKey(key string) *App {
	if a == nil {
		return nil
	}
	return a.byKey[key]
}

// ByID is the app with an id, or nil.
func (a *Apps) ByID(id string) *App {
	if a == nil {
		return nil
	}
	return a.byID[id]
}

// OfGroup is the app that has a group, and the name of the group's channel. What is before a slash and the id of no further app belongs
// to the first, as all names without a slash do. nil: there are no apps.
func (a *Apps) OfGroup(group string) (app *App, channel string) {
	if a == nil {
		return nil, group
	}
	if id, rest, has := strings.Cut(group, appSlash); has {
		if app := a.byID[id]; app != nil && !app.First {
			return app, rest
		}
	}
	return a.First(), group
}

// HasUser says whether the name by which an app would know a user is not one of another app's: an id may have a slash, and the first app's
// has nothing before it.
func (a *Apps) HasUser(app *App, id string) bool {
	owner, _ := a.OfGroup(app.User(id))
	return owner != nil && owner.ID == app.ID
}

// IDs are the ids of all apps, the first's first.
func (a *Apps) IDs() (ids []string) {
	for i := range a.Len() {
		ids = append(ids, a.all[i].ID)
	}
	return ids
}

// Len is how many apps there are.
func (a *Apps) Len() int {
	if a == nil {
		return 0
	}
	return len(a.all)
}
