package settings

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"ringcast/loop"
	"ringcast/loop/door"
)

// appFlags are the flags of start about apps of the Pusher protocol.
type appFlags struct {
	Apps Secrets `name:"pusher" sep:"none" placeholder:"ID:KEY:SECRET|@FILE" env:"RINGCAST_PUSHER" help:"An app of the Pusher protocol: its clients connect to /app/KEY, its backends use /apps/ID and sign with the secret; may be repeated. The first app shares the groups of all clients; those of another are its own. @FILE has one in each line. Without an app nobody speaks that protocol. What is typed here others on this machine can see: prefer a file or the environment."`
}

// appEntry is an app as an object of the config file. Its fields other than texts are flags of an app, of which readValue reads the tags.
type appEntry struct {
	ID     string `name:"id"`
	Key    string `name:"key"`
	Secret string `name:"secret"`

	ClientEventsPerSecond int `name:"client-events" value:"count 1 1000000 off"`
	EventBytesMax         int `name:"event-max" value:"size 1KiB 64MiB"`

	Webhook           string `name:"webhook"`
	WebhookEvents     string `name:"webhook-events"`
	SubscriptionCount bool   `name:"subscription-count" value:"words off on"`
}

// appKeys are the keys of such an object.
var appKeys []string

func init() {
	eachFlag(reflect.ValueOf(appEntry{}), func(tag reflect.StructTag, _ any) { appKeys = append(appKeys, tag.Get("name")) })
}

// appSecretBytesGood is the length from which nobody is warned of an app's secret, bytes: Laravel makes secrets of 20 letters and digits.
const appSecretBytesGood = 16

// apps reads the flags into the limits of s.
func (f *appFlags) apps(c *checker, s *Settings) {
	texts := c.secrets("pusher", f.Apps, door.AppsMax)
	s.typed.contents["pusher"] = fingerprint(strings.Join(texts, "\n"))
	s.typed.Apps = texts.hidden()
	apps := make([]door.App, 0, len(texts))
	for i, text := range texts {
		app, mend := readApp(text)
		if mend != "" {
			c.wrongSecret("pusher", fmt.Sprintf(" (app %d of %d)", i+1, len(texts)), "%s", mend)
			return
		}
		if len(app.Secret) < appSecretBytesGood {
			s.shortApps++
		}
		apps = append(apps, app)
	}
	all, err := door.NewApps(apps)
	if err != nil {
		c.wrongSecret("pusher", "", "cannot be used: %v", err)
	}
	s.Loop.Apps = all
}

// readApp reads an app as it stands in a flag, in a line of a file or of the environment, or in the config file: mend says what is wrong
// with it, and nothing of the text, in which there is a secret.
func readApp(text string) (app door.App, mend string) {
	app = door.App{ClientEventsPerSecond: door.AppClientEventsPerSecond, EventBytesMax: door.AppEventBytes}
	if strings.HasPrefix(text, "{") {
		return app, readAppObject([]byte(text), &app)
	}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) < 3 {
		return app, "is not of three parts; write ID:KEY:SECRET"
	}
	app.ID, app.Key, app.Secret = parts[0], parts[1], parts[2]
	return app, ""
}

// readAppObject reads an object of the config file.
func readAppObject(text []byte, app *door.App) (mend string) {
	var values map[string]json.RawMessage
	if json.Unmarshal(text, &values) != nil {
		return `begins with { and is no JSON object; write ID:KEY:SECRET, or {"id": "ID", "key": "KEY", "secret": "SECRET"}`
	}
	if key := repeatedKey(text); key != "" {
		return fmt.Sprintf("has the key %.100q twice; write it once", key)
	}
	for key := range values {
		if !slices.Contains(appKeys, key) {
			return fmt.Sprintf("has an unknown key; the keys are %s", strings.Join(appKeys, ", "))
		}
	}
	into := reflect.ValueOf(app).Elem()
	entry := reflect.TypeFor[appEntry]()
	for i := range entry.NumField() {
		tag := entry.Field(i).Tag
		value, said := values[tag.Get("name")]
		if !said {
			continue
		}
		if mend := readAppValue(tag, value, into.FieldByName(entry.Field(i).Name)); mend != "" {
			return fmt.Sprintf("has a key %q, which %s", tag.Get("name"), mend)
		}
	}
	return ""
}

// readAppValue reads the value of a key.
func readAppValue(tag reflect.StructTag, value []byte, into reflect.Value) (mend string) {
	text := string(value)
	isString := json.Unmarshal(value, &text) == nil && value[0] == '"'
	switch kind, least, most, _ := valueOf(tag); {
	case kind == "count":
		return readValue(tag, text, into)
	case kind == "words":
		return readValue(tag, onOffWord(text), into)
	case kind == "size":
		n, mend := readSize(text, "", fixedSize(least), fixedSize(most))
		into.SetInt(n)
		return mend
	case !isString && (tag.Get("name") != "id" || !wholeNumber.MatchString(text)): // as an id Laravel makes a number
		return "is not a text in quotes; write one"
	}
	into.SetString(text)
	return ""
}

var wholeNumber = regexp.MustCompile(`^[0-9]+$`)

// appLines are the apps of a JSON value of the config file as lines of the flag, each an app; false: it is none.
func appLines(value []byte) (lines string, ok bool) {
	entries := []json.RawMessage{value}
	if value[0] == '[' {
		if json.Unmarshal(value, &entries) != nil {
			return "", false
		}
	}
	var all []string
	for _, entry := range entries {
		switch entry[0] {
		case '"':
			var text string
			if json.Unmarshal(entry, &text) != nil {
				return "", false
			}
			all = append(all, text)
		case '{':
			var text bytes.Buffer
			if json.Compact(&text, entry) != nil {
				return "", false
			}
			all = append(all, text.String())
		default:
			return "", false
		}
	}
	return strings.Join(all, "\n"), true
}

// adoptApps takes over the apps of settings that were read anew. Where nothing of them has changed they are the same Apps.
func (s *Settings) adoptApps(old, read *Settings) {
	s.shortApps, s.typed.appFlags = read.shortApps, read.typed.appFlags // what they were made of adoptTokens has taken over
	if old.typed.contents["pusher"] == read.typed.contents["pusher"] {
		s.Loop.Apps = old.Loop.Apps
	}
}

// AppIDs are the ids of the first few apps, in one text; empty: there are none.
func (s *Settings) AppIDs() string { return shortList(s.Loop.Apps.IDs()) }

// AppWarnings are sentences about apps that an operator should see at every start and each change.
func (s *Settings) AppWarnings() (all []string) {
	if s.shortApps > 0 {
		all = append(all, fmt.Sprintf("Secrets of --pusher shorter than %d bytes: %d. Whoever has seen a signature can find out a short one by trying, and sign as your backend; make one with openssl rand -hex 32.",
			appSecretBytesGood, s.shortApps))
	}
	var tooLarge []string
	for _, id := range s.Loop.Apps.IDs() {
		if s.Loop.Apps.ByID(id).EventBytesMax > s.Loop.MessageBytesMax {
			tooLarge = append(tooLarge, id)
		}
	}
	if len(tooLarge) > 0 {
		all = append(all, fmt.Sprintf("Events of the apps %s may be larger than --message-max, %s, says their event-max; such ones are refused all the same.",
			shortList(tooLarge), SizeText(int64(s.Loop.MessageBytesMax))))
	}
	if least := door.AppChannelBytesMax; s.Loop.Apps.Len() > 0 && s.Loop.GroupBytesMax < least {
		all = append(all, fmt.Sprintf("--group-name-max is less than %d, the bytes that the name of a Pusher channel may have; longer ones are refused.", least))
	}
	return all
}

// signers says whether clients of an app can show, for groups that a kind is for, what stands for a token of theirs: a signature for the
// channel or, with anyChannel, that of a user. The pattern of the kind has to match the name of a channel at all.
func signers(apps *door.Apps, kind *loop.Kind, anyChannel bool) bool {
	before, after, inApp := strings.Cut(kind.Match, "/")
	for i, id := range apps.IDs() {
		if i == 0 && matchesChannel(kind.Match, anyChannel) || i > 0 && inApp && door.Matches(before, id) && matchesChannel(after, anyChannel) {
			return true
		}
	}
	return false
}

// matchesChannel says whether a pattern can match the name of a channel that needs a signature, or of any channel.
func matchesChannel(pattern string, anyChannel bool) bool {
	head, _, open := strings.Cut(pattern, "*")
	literal := strings.TrimPrefix(strings.ReplaceAll(pattern, "*", ""), "#") // of #server-to-user-ID
	if literal != "" && !door.IsAppName(literal, door.AppChannelBytesMax) {
		return false
	}
	for _, prefix := range [...]string{"private-", "presence-"} {
		if strings.HasPrefix(head, prefix) || open && strings.HasPrefix(prefix, head) {
			return true
		}
	}
	return anyChannel
}
