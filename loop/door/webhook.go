package door

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// This file is what of an app is about webhooks: requests that tell its backend what becomes of channels.

// webhookEvents are the names of all events.
var webhookEvents = []string{"channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss"}

// WantsEvent says whether the app's backend is to be told of an event of a name.
func (a *App) WantsEvent(name string) bool {
	return a.Webhook != "" && (a.WebhookEvents == "" || slices.Contains(a.eventNames(), name))
}

func (a *App) eventNames() (names []string) {
	for name := range strings.SplitSeq(a.WebhookEvents, ",") {
		names = append(names, strings.TrimSpace(name))
	}
	return names
}

// unknownEvent is what among WebhookEvents is no event's name.
func (a *App) unknownEvent() (name string, any bool) {
	for _, name := range a.eventNames() {
		if !slices.Contains(webhookEvents, name) {
			return name, a.WebhookEvents != ""
		}
	}
	return "", false
}

// isWebAddress says whether a text is an address of a web server, with no user in it, which logs might show.
func isWebAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= appWebhookBytesMax && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil
}

// Sign is the app's signature of the body of a request to its backend, in hexadecimal.
func (a *App) Sign(body []byte) string {
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}
