package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/loop/door"
)

// appsText is all that settings say of apps, secrets included.
func (s *Settings) appsText() string {
	var all []string
	for _, id := range s.Loop.Apps.IDs() {
		a := s.Loop.Apps.ByID(id)
		counts := ""
		if a.SubscriptionCount {
			counts = "counts"
		}
		all = append(all, strings.Join(strings.Fields(fmt.Sprintf("%s:%s:%s %d %d %s %s %s", a.ID, a.Key, a.Secret, a.ClientEventsPerSecond, a.EventBytesMax, counts, a.Webhook, a.WebhookEvents)), " "))
	}
	return strings.Join(all, ", ")
}

func TestAppsAreTakenFromFlagsEnvironmentAndFiles(t *testing.T) {
	const usual = " 10 102400"
	w := world{files: map[string]string{"apps": " 3:k:s\r\n\n4:l:t:u \n"}}
	for what, test := range map[string]struct {
		environ, args []string
		config        string
		want          string
	}{
		"nothing":                     {},
		"typed":                       {args: []string{"--pusher", "3:k:s"}, want: "3:k:s" + usual},
		"typed twice":                 {args: []string{"--pusher", "3:k:s", "--pusher=4:l:t,u"}, want: "3:k:s" + usual + ", 4:l:t,u" + usual},
		"a secret with colons":        {args: []string{"--pusher", "3:k:s:s:"}, want: "3:k:s:s:" + usual},
		"a file":                      {args: []string{"--pusher", "@apps"}, want: "3:k:s" + usual + ", 4:l:t:u" + usual},
		"a file, and typed before it": {args: []string{"--pusher", "5:m:v", "--pusher", "@apps"}, want: "5:m:v" + usual + ", 3:k:s" + usual + ", 4:l:t:u" + usual},
		"the environment":             {environ: []string{"RINGCAST_PUSHER=3:k:s\n4:l:t"}, want: "3:k:s" + usual + ", 4:l:t" + usual},
		"an object of it":             {environ: []string{`RINGCAST_PUSHER={"id": "3", "key": "k", "secret": "s", "client-events": "off"}`}, want: "3:k:s 0 102400"},
		"a webhook of it":             {environ: []string{`RINGCAST_PUSHER={"id": "3", "key": "k", "secret": "s", "webhook": "https://b.example/h?t=1"}`}, want: "3:k:s" + usual + " https://b.example/h?t=1"},
		"a webhook that is typed":     {args: []string{"--pusher", `{"id": "3", "key": "k", "secret": "s", "webhook": "http://b:8000", "webhook-events": "client_event, cache_miss"}`}, want: "3:k:s" + usual + " http://b:8000 client_event, cache_miss"},
		"a webhook in the file":       {config: `{"pusher": [{"id": "3", "key": "k", "secret": "s", "webhook": "http://[::1]/"}]}`, want: "3:k:s" + usual + " http://[::1]/"},
		"typed before it":             {environ: []string{"RINGCAST_PUSHER=3:k:s"}, args: []string{"--pusher", "4:l:t"}, want: "4:l:t" + usual},
		"a text in the file":          {config: `{"pusher": "3:k:s"}`, want: "3:k:s" + usual},
		"a file named by it":          {config: `{"pusher": "@apps"}`, want: "3:k:s" + usual + ", 4:l:t:u" + usual},
		"an object in the file":       {config: `{"pusher": {"id": "3", "key": "k", "secret": "s"}}`, want: "3:k:s" + usual},
		"an array": {config: `{"pusher": [ "3:k:s", {"id": 4, "key": "l", "secret": "t", "client-events": 200, "event-max": "10KiB"}, {"secret": "{\"\u00e4", "key": "m",
			"id": "5", "client-events": "7", "event-max": 2048} ]}`, want: "3:k:s" + usual + ", 4:l:t 200 10240, 5:m:{\"ä 7 2048"},
		"counts": {config: `{"pusher": [{"id": "3", "key": "k", "secret": "s", "subscription-count": true}, {"id": "4", "key": "l", "secret": "s", "subscription-count": "on"},
			{"id": "5", "key": "m", "secret": "s", "subscription-count": false}]}`, want: "3:k:s" + usual + " counts, 4:l:s" + usual + " counts, 5:m:s" + usual},
		"an empty array":             {config: `{"pusher": []}`},
		"typed before the file":      {config: `{"pusher": [{"id": "3", "key": "k", "secret": "s"}]}`, args: []string{"--pusher", "4:l:t"}, want: "4:l:t" + usual},
		"of the environment before ": {config: `{"pusher": "3:k:s"}`, environ: []string{"RINGCAST_PUSHER=4:l:t"}, want: "4:l:t" + usual},
	} {
		w := w
		w.environ, w.config = test.environ, test.config
		args := test.args
		if w.config != "" {
			args = append(args, "--config", configName)
		}
		s, err := w.parse(args...)
		if err != nil || s.appsText() != test.want {
			t.Errorf("%s: got %s, %v, want %s", what, s.appsText(), err, test.want)
		}
		if first := s.Loop.Apps.First(); test.want == "" != (s.Loop.Apps == nil) || first != nil && !strings.HasPrefix(test.want, first.ID+":") {
			t.Errorf("%s: got %v as the first app", what, first)
		}
	}
}

func TestAWrongAppIsRefusedAndItsSecretNotShown(t *testing.T) {
	const h = shownKey
	file := func(text string) []string { return []string{"--config", configName, text} }
	for what, c := range map[string]struct {
		args []string // with --config the last is the file's text
		want string
	}{
		"nothing":                    {[]string{"--pusher", ""}, "--pusher is empty"},
		"a secret alone":             {[]string{"--pusher", h}, "--pusher (app 1 of 1) is not of three parts; write ID:KEY:SECRET"},
		"two parts":                  {[]string{"--pusher", "3:k:s", "--pusher", "4:" + h}, "--pusher (app 2 of 2) is not of three parts"},
		"no secret":                  {[]string{"--pusher", h + ":k:"}, "--pusher cannot be used: app 1 has no id, no key or no secret; give it all three"},
		"a slash in the id":          {[]string{"--pusher", "a/b:k:" + h}, "--pusher cannot be used: app 1 has an id that is not of 1 to 64 bytes of letters, digits and -_=@,.;"},
		"a space in the key":         {[]string{"--pusher", "3:k k:" + h}, "app 1 (3) has a key that is not"},
		"a space before the secret":  {[]string{"--pusher", "3:k: " + h}, "app 1 (3) has a secret with white space around it"},
		"the same id":                {[]string{"--pusher", "3:k:s", "--pusher", "3:l:" + h}, `app 2 has the id of another, "3"; give each its own`},
		"the same key":               {[]string{"--pusher", "3:k:s", "--pusher", "4:k:" + h}, "app 2 (4) has the key of another; give each its own"},
		"the key as the secret":      {[]string{"--pusher", "3:" + h + ":" + h}, "app 1 (3) has its key as its secret"},
		"a file that is not there":   {[]string{"--pusher", "@nowhere"}, `--pusher "@nowhere" cannot be read`},
		"an object that is none":     {[]string{"--pusher", `{"id": "` + h}, "begins with { and is no JSON object; write ID:KEY:SECRET"},
		"a number":                   {file(`{"pusher": 5}`), "--pusher (app 1 of 1) (from the config file) is not of three parts"},
		"null":                       {file(`{"pusher": null}`), `key "pusher" is neither a text nor an object nor an array of them; write an array such as ["ID:KEY:SECRET", {"id": "ID",`},
		"an array of numbers":        {file(`{"pusher": ["` + h + `", 1]}`), `key "pusher" is neither a text nor`},
		"an object in the file":      {file(`{"pusher": {"id": "3", "key": "k", "secrt": "` + h + `"}}`), "has an unknown key; the keys are id, key, secret, client-events, event-max, webhook, webhook-events, subscription-count"},
		"a count that is no choice":  {file(`{"pusher": [{"id": "3", "key": "k", "secret": "` + h + `", "subscription-count": 1}]}`), `has a key "subscription-count", which must be off or on`},
		"a key twice":                {file(`{"pusher": {"id": "3", "id": "` + h + `"}}`), `has the key "id" twice; write it once`},
		"a key that is no text":      {file(`{"pusher": [{"id": "3", "key": 5, "secret": "` + h + `"}]}`), `has a key "key", which is not a text in quotes; write one`},
		"an id that is no number":    {file(`{"pusher": [{"id": 3.5, "key": "k", "secret": "` + h + `"}]}`), `has a key "id", which is not a text in quotes`},
		"a secret that is no text":   {file(`{"pusher": [{"id": "3", "key": "k", "secret": ["` + h + `"]}]}`), `has a key "secret", which is not a text in quotes`},
		"too many client events":     {file(`{"pusher": [{"id": "3", "key": "k", "secret": "` + h + `", "client-events": 1000001}]}`), `has a key "client-events", which must be a whole number from 1 to 1000000, or off`},
		"no client events, as false": {file(`{"pusher": [{"id": "3", "key": "k", "secret": "` + h + `", "client-events": false}]}`), `or off`},
		"events of a wrong unit":     {file(`{"pusher": [{"id": "3", "key": "k", "secret": "` + h + `", "event-max": "10KB"}]}`), `has a key "event-max", which is not a size`},
		"events that are too large":  {file(`{"pusher": [{"id": "3", "key": "k", "secret": "` + h + `", "event-max": "65MiB"}]}`), `which is out of bounds; write a size from 1KiB to 64MiB`},
		"a webhook that is none":     {file(`{"pusher": [{"id": "3", "key": "k", "secret": "s", "webhook": "` + h + `"}]}`), `app 1 (3) has a webhook that is no address such as https://example.org/webhook; write one, without a user in it`},
		"a webhook that is no text":  {file(`{"pusher": [{"id": "3", "key": "k", "secret": "s", "webhook": ["` + h + `"]}]}`), `has a key "webhook", which is not a text in quotes`},
		"too long":                   {[]string{"--pusher", "3:k:" + strings.Repeat(h, 100)}, "has a secret of more than 1024 bytes; shorten it"},
		"too many":                   {slices.Repeat([]string{"--pusher", "3:k:" + h}, door.AppsMax+1), "has 1001 secrets, more than the 1000 allowed"},
		"a word too many":            {[]string{"--pusher", "3:k:s", h}, "there is a word too many"},
	} {
		var w world
		if c.args[0] == "--config" {
			w.config, c.args = c.args[2], c.args[:2]
		}
		_, err := w.parse(c.args...)
		refused(t, what, err, c.want)
		if text := fmt.Sprint(err); strings.Contains(text, shownKey) {
			t.Errorf("%s: the error shows the secret: %q", what, text)
		}
	}
}

func TestAReloadTakesAppsUpAndShowsTheirNumber(t *testing.T) {
	parsed := func(apps ...string) Settings {
		var args []string
		for _, app := range apps {
			args = append(args, "--pusher", app)
		}
		s, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	none, one, other, two := parsed(), parsed("3:k:"+shownKey), parsed("3:k:"+shownKey+"2"), parsed("3:k:"+shownKey, "4:l:"+shownKey)
	for _, c := range []struct {
		from, to Settings
		want     string // empty: no change
	}{
		{none, one, "pusher: none → 1 secret"},
		{one, two, "pusher: 1 secret → 2 secrets"},
		{one, other, "pusher: 1 secret → 1 secret, with other contents"},
		{two, none, "pusher: 2 secrets → none"},
		{two, parsed("3:k:"+shownKey, "4:l:"+shownKey), ""},
	} {
		next, changes, restart := c.from.Adopt(&c.to)
		got := strings.Trim(fmt.Sprint(changes), "[]")
		if got != c.want || len(restart) > 0 || next.appsText() != c.to.appsText() {
			t.Errorf("from %v to %v: got %q, %q and %v, want %q", c.from.Loop.Apps.IDs(), c.to.Loop.Apps.IDs(), got, restart, next.Loop.Apps.IDs(), c.want)
		}
		if same := next.Loop.Apps == c.from.Loop.Apps; same != (c.want == "") {
			t.Errorf("from %v to %v: the same apps: got %v", c.from.Loop.Apps.IDs(), c.to.Loop.Apps.IDs(), same)
		}
		if _, changes, _ = next.Adopt(&c.to); len(changes) > 0 {
			t.Errorf("once more: got %v, want no change", changes)
		}
		if shown := fmt.Sprintf("%v %+v %#v %v %v", next, next, next, next.Changeable(), next.Warnings()); strings.Contains(shown, shownKey) {
			t.Errorf("the settings show a secret: %s", shown)
		}
	}
	if got := two.Changeable()["pusher"] + ", " + two.AppIDs() + none.AppIDs(); got != "2 secrets, 3, 4" {
		t.Errorf("in a status and a banner: got %q, want their number and their ids", got)
	}
}

func TestAppsThatAreProbablyNotAsIntendedAreWarnedOf(t *testing.T) {
	long := strings.Repeat("x", appSecretBytesGood)
	for _, c := range []struct {
		args []string
		want string // empty: nothing
	}{
		{args: []string{"--pusher", "3:k:" + long}},
		{args: []string{"--pusher", "3:k:" + long[1:], "--pusher", "4:l:" + long, "--pusher", "5:m:" + long[2:]}, want: "Secrets of --pusher shorter than 16 bytes: 2."},
		{args: []string{"--pusher", "3:k:" + long, "--message-max", "100KiB"}},
		{args: []string{"--pusher", "3:k:" + long, "--message-max", "64KiB"}, want: "Events of the apps 3 may be larger than --message-max, 64KiB"},
		{args: []string{"--pusher", "3:k:" + long, "--group-name-max", "164"}},
		{args: []string{"--pusher", "3:k:" + long, "--group-name-max", "163"}, want: "--group-name-max is less than 164"},
		{args: []string{"--group-name-max", "163", "--message-max", "64KiB"}},
		{args: []string{"--anonymous", "off"}, want: "No client can do anything"},
		{args: []string{"--anonymous", "off", "--pusher", "3:k:" + long}},
	} {
		s, err := parse(t, c.args...)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(slices.Concat(s.AppWarnings(), s.TokenWarnings()), "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Contains(got, "xxx") {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
		if logged := fmt.Sprint(s.Warnings()); !strings.Contains(logged, c.want) {
			t.Errorf("%q: got %q in the log, want %q", c.args, logged, c.want)
		}
	}
}

// With an app the clients of it can show a signature where a token is wanted, for the channels that have signatures.
func TestGroupsThatSignedSubscribersReachAreNotWarnedOf(t *testing.T) {
	for _, c := range []struct{ match, access, join, publish string }{
		{"private-*", "token", "", ""},
		{"presence-room", "token", "", ""},
		{"*", "token", "", ""},
		{"p*", "token", "", ""},
		{"priv*e", "token", "", ""},
		{"*x", "token", "", ""},
		{"private-a", "user", "", ""},
		{"news", "user", "", `"news"`}, // a user may subscribe; client events are for private and presence channels
		{"news", "token", `"news"`, `"news"`},
		{"n*", "token", `"n*"`, `"n*"`},
		{"private-a:*", "token", `"private-a:*"`, `"private-a:*"`}, // no name of a channel has a colon
		{"chat:*", "user", `"chat:*"`, `"chat:*"`},
		{"#server-to-user-*", "user", "", `"#server-to-user-*"`},
		{"shop/private-*", "token", "", ""},
		{"shop/*", "token", "", ""},
		{"*/presence-*", "token", "", ""},
		{"3/private-*", "token", `"3/private-*"`, `"3/private-*"`}, // the first app has no prefix
		{"other/private-*", "token", `"other/private-*"`, `"other/private-*"`},
		{"shop/news", "token", `"shop/news"`, `"shop/news"`},
		{strings.Repeat("p", 165), "user", `"` + strings.Repeat("p", 165) + `"`, `"` + strings.Repeat("p", 165) + `"`},
	} {
		config := fmt.Sprintf(`{"groups": [{"match": %q, "join": %q, "publish": %q}]}`, c.match, c.access, c.access)
		s, err := parseConfig(config, "--pusher", "3:k:s", "--pusher", "shop:l:t")
		if err != nil {
			t.Fatal(err)
		}
		if join, publish := s.OutOfReach(); join != c.join || publish != c.publish {
			t.Errorf("%s: got %s and %s, want %s and %s", config, join, publish, c.join, c.publish)
		}
		if s, err = parseConfig(config); err != nil {
			t.Fatal(err)
		}
		if join, publish := s.OutOfReach(); join == "" || publish == "" {
			t.Errorf("%s without apps: got %s and %s, want both warned of", config, join, publish)
		}
	}
}

// A kind opens a channel that is for signed subscribers only where it names join or publish itself.
func TestAKindKnowsWhatItSaysItself(t *testing.T) {
	s, err := parseConfig(`{"groups": [{"match": "a", "join": "anyone"}, {"match": "b", "publish": "anyone"}, {"match": "c", "presence": true}]}`, "--join", "token", "--publish", "token")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, kind := range s.Loop.AllKinds() {
		got = append(got, fmt.Sprint(kind.Match, " ", kind.JoinSaid, " ", kind.PublishSaid))
	}
	if want := "a true false, b false true, c false false, * false false"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
