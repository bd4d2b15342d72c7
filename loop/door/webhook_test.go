package door

import "testing"

// The signature is that of Pusher's documentation.
func TestTheBodyOfAWebhookIsSigned(t *testing.T) {
	const body, want = `{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"test_channel"}]}`, "709fdb84c03664445f7698120b0edf0acc1ab1c8c6e93a0368c61841d6b998aa"
	if got := theApp.Sign([]byte(body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnAppWantsTheEventsThatItNames(t *testing.T) {
	for _, c := range []struct{ webhook, events, want string }{
		{"", "", ""},
		{"", "client_event", ""},
		{"http://b", "", "channel_occupied channel_vacated member_added member_removed client_event cache_miss "},
		{"http://b", "client_event, channel_vacated", "channel_vacated client_event "},
	} {
		app, got := App{Webhook: c.webhook, WebhookEvents: c.events}, ""
		for _, name := range webhookEvents {
			if app.WantsEvent(name) {
				got += name + " "
			}
		}
		if got != c.want {
			t.Errorf("%q of %q: got %q, want %q", c.events, c.webhook, got, c.want)
		}
	}
}
