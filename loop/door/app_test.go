package door

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// theApp is the app of Pusher's documentation.
var theApp = App{ID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8", First: true}

func appsOf(t testing.TB, ids ...string) *Apps {
	t.Helper()
	var all []App
	for _, id := range ids {
		all = append(all, App{ID: id, Key: "key-of-" + id, Secret: "secret-of-" + id})
	}
	apps, err := NewApps(all)
	if err != nil {
		t.Fatal(err)
	}
	return apps
}

func TestAppsAreFoundByIDAndByKey(t *testing.T) {
	apps := appsOf(t, "3", "shop", "a.b")
	if got := apps.IDs(); !slices.Equal(got, []string{"3", "shop", "a.b"}) || apps.Len() != 3 {
		t.Errorf("got %q, want the three in their order", got)
	}
	for _, id := range apps.IDs() {
		app := apps.ByID(id)
		if app == nil || app.ID != id || apps.ByKey("key-of-"+id) != app || app.First != (id == "3") || app.EventBytesMax != AppEventBytes {
			t.Errorf("%s: got %+v by its id and %+v by its key", id, app, apps.ByKey("key-of-"+id))
		}
	}
	if apps.First() != apps.ByID("3") || apps.ByID("4") != nil || apps.ByKey("3") != nil || apps.ByKey("") != nil || apps.ByID("") != nil {
		t.Error("what is not there was found")
	}
	none := appsOf(t)
	if none != nil || none.First() != nil || none.ByID("3") != nil || none.ByKey("k") != nil || none.Len() != 0 || none.IDs() != nil {
		t.Errorf("of none: got %+v", none)
	}
	if app, channel := none.OfGroup("3/a"); app != nil || channel != "3/a" {
		t.Errorf("of none: got a group of %v", app)
	}
}

func TestTheGroupsOfAFurtherAppHaveItsID(t *testing.T) {
	apps := appsOf(t, "3", "shop")
	for _, c := range []struct{ group, id, channel string }{
		{"news", "3", "news"},
		{"shop/news", "shop", "news"},
		{"shop/", "shop", ""},
		{"shop/a/b", "shop", "a/b"},
		{"shop", "3", "shop"},
		{"other/news", "3", "other/news"}, // a group of the seed's clients
		{"3/news", "3", "3/news"},         // likewise: the first app has no prefix
		{"/news", "3", "/news"},
		{"", "3", ""},
	} {
		app, channel := apps.OfGroup(c.group)
		if app.ID != c.id || channel != c.channel {
			t.Errorf("%q: got %q of app %s, want %q of %s", c.group, channel, app.ID, c.channel, c.id)
		}
		if back := app.Group(channel); back != c.group {
			t.Errorf("%q: got %q back", c.group, back)
		}
	}
	if got := apps.ByID("shop").User("7") + " " + apps.First().User("7") + " " + apps.ByID("shop").GroupPrefix() + apps.First().GroupPrefix(); got != "shop/7 7 shop/" {
		t.Errorf("users: got %q", got)
	}
	if shop, first := apps.ByID("shop"), apps.First(); !apps.HasUser(shop, "7") || !apps.HasUser(shop, "3/7") || !apps.HasUser(first, "other/7") || apps.HasUser(first, "shop/7") {
		t.Error("a user is not of the app that names it, or of one that does not")
	}
}

func TestAWrongAppIsRefusedWithTheMend(t *testing.T) {
	good := func(id string) App { return App{ID: id, Key: "key" + id, Secret: "a secret: of any letters"} }
	const hidden = "hidden-secret"
	for _, c := range []struct {
		wrong func(*App)
		want  string // empty: it is right
	}{
		{func(*App) {}, ""},
		{func(a *App) { a.ID = "a.b-c_d=e@f,g;h" + strings.Repeat("x", AppIDBytesMax-15) }, ""},
		{func(a *App) { a.Key = strings.Repeat("k", AppKeyBytesMax) }, ""},
		{func(a *App) { a.ClientEventsPerSecond, a.EventBytesMax = AppClientEventsTop, AppEventBytesTop }, ""},
		{func(a *App) {
			a.Webhook, a.WebhookEvents = "https://b.example:8000/h?token=1", "channel_vacated , client_event"
		}, ""},
		{func(a *App) { a.Webhook = "ftp://b.example/" + hidden }, "app 2 (2) has a webhook that is no address such as https://example.org/webhook"},
		{func(a *App) { a.Webhook = "https://ann:" + hidden + "@b.example/" }, "without a user in it"},
		{func(a *App) { a.Webhook = "https:///" + hidden }, "has a webhook that is no address"},
		{func(a *App) { a.Webhook = "https://b.example/" + strings.Repeat("x", appWebhookBytesMax) }, "has a webhook that is no address"},
		{func(a *App) { a.WebhookEvents = "client_event,member_came" }, `app 2 (2) has among its webhook-events "member_came", which is none; these are channel_occupied, channel_vacated,`},
		{func(a *App) { a.WebhookEvents = "client_event," }, `has among its webhook-events "", which is none`},
		{func(a *App) { a.ID = "" }, "app 2 has no id, no key or no secret; give it all three"},
		{func(a *App) { a.Key = "" }, "app 2 has no id, no key or no secret"},
		{func(a *App) { a.Secret = "" }, "app 2 has no id, no key or no secret"},
		{func(a *App) { a.ID = "a/b" }, "app 2 has an id that is not of 1 to 64 bytes of letters, digits and -_=@,.;"},
		{func(a *App) { a.ID = "ä" }, "app 2 has an id that is not"},
		{func(a *App) { a.ID = strings.Repeat("x", AppIDBytesMax+1) }, "app 2 has an id that is not"},
		{func(a *App) { a.Key = "a:b" }, "app 2 (2) has a key that is not of 1 to 128 bytes"},
		{func(a *App) { a.Key = strings.Repeat("k", AppKeyBytesMax+1) }, "app 2 (2) has a key that is not"},
		{func(a *App) { a.Secret = strings.Repeat("s", appSecretBytesMax+1) }, "app 2 (2) has a secret of more than 1024 bytes; shorten it"},
		{func(a *App) { a.Secret += "\n" }, "app 2 (2) has a secret with white space around it"},
		{func(a *App) { a.Secret = "a\x00b" }, "or a line break in it; leave that off"},
		{func(a *App) { a.Secret = a.Key }, "app 2 (2) has its key as its secret"},
		{func(a *App) { a.ClientEventsPerSecond = -1 }, "app 2 (2) has client events of -1 a second"},
		{func(a *App) { a.ClientEventsPerSecond = AppClientEventsTop + 1 }, "app 2 (2) has client events of 1000001 a second"},
		{func(a *App) { a.EventBytesMax = -1 }, "app 2 (2) has events of -1 bytes"},
		{func(a *App) { a.EventBytesMax = AppEventBytesTop + 1 }, "where 0 to 67108864 are allowed"},
		{func(a *App) { a.ID = "1" }, `app 2 has the id of another, "1"; give each its own`},
		{func(a *App) { a.Key = "key1" }, "app 2 (2) has the key of another; give each its own"},
	} {
		first, second := good("1"), good("2")
		second.Secret = hidden
		c.wrong(&second)
		apps, err := NewApps([]App{first, second})
		text := fmt.Sprint(err)
		switch {
		case c.want == "" && (err != nil || apps.Len() != 2):
			t.Errorf("%v: got %v, want it to be good", second, err)
		case c.want != "" && (apps != nil || !strings.Contains(text, c.want)):
			t.Errorf("got %v, %v, want %q", apps, err, c.want)
		case strings.Contains(text, hidden):
			t.Errorf("%q shows a secret", text)
		}
	}
	if _, err := NewApps(make([]App, AppsMax+1)); err == nil || !strings.Contains(err.Error(), "1001 apps are more than 1000") {
		t.Errorf("too many: got %v", err)
	}
}

func TestAnAppIsShownWithoutItsSecret(t *testing.T) {
	for _, text := range []string{fmt.Sprint(theApp), fmt.Sprint(&theApp), fmt.Sprintf("%+v %#v", theApp, theApp), fmt.Sprintf("%+v %#v", &theApp, []App{theApp}), fmt.Sprintf("%q", theApp)} {
		if strings.Contains(text, theApp.Secret) || !strings.Contains(text, "app 3") {
			t.Errorf("got %s, want the id alone", text)
		}
	}
}
