package settings

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ringcast/loop"
)

// notFlags are the fields of loop.Limits that no flag sets, each with its reason.
var notFlags = map[string]string{
	"Kinds":       "a list of objects, which only the config file can hold; key groups",
	"Tokens":      "made of all flags of tokens together",
	"Apps":        "made of --pusher, each an app",
	"NoAnonymous": "--anonymous, and whether there are tokens",
	"TokensOnly":  "--anonymous, said by an operator",
}

func TestEveryLimitIsAFlagAndEveryFlagOfLimitsIsALimit(t *testing.T) {
	limits, flags := reflect.TypeFor[loop.Limits](), reflect.TypeFor[limitFlags]()
	var want, got []string
	for i := range limits.NumField() {
		name := limits.Field(i).Name
		if notFlags[name] == "" {
			want = append(want, name)
		}
		if _, is := flags.FieldByName(name); is && notFlags[name] != "" {
			t.Errorf("notFlags has %s (%s): it is a flag, take it off", name, notFlags[name])
		}
	}
	for name := range maps.Keys(notFlags) {
		if _, is := limits.FieldByName(name); !is {
			t.Errorf("notFlags has %s, which is no field of loop.Limits", name)
		}
	}
	for i := range flags.NumField() {
		got = append(got, flags.Field(i).Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields of limitFlags:\ngot  %v\nwant %v, as in loop.Limits", got, want)
	}
}

// The defaults stand in loop.Limits for those who use the package, and in the flags for the help; neither may differ.
func TestFlagsOfLimitsHaveTheDefaultsAndBoundsOfTheLimits(t *testing.T) {
	limits, flags := reflect.TypeFor[loop.Limits](), reflect.TypeFor[limitFlags]()
	for i := range flags.NumField() {
		flag := flags.Field(i)
		limit, is := limits.FieldByName(flag.Name)
		if !is {
			continue // the test above says so
		}
		want, given := strings.ReplaceAll(limit.Tag.Get("default"), " ", ""), flag.Tag.Get("default")
		if want != "" && given != want {
			t.Errorf("%s: default of the flag: got %s, want %s as in loop.Limits", flag.Name, given, want)
		}
		words := strings.Fields(flag.Tag.Get("value"))
		if words[0] == "words" {
			if given != words[1] {
				t.Errorf("%s: default of the flag: got %s, want %s, since a zero limit is that", flag.Name, given, words[1])
			}
		} else if want == "" && len(words) > 3 && given != words[3] {
			t.Errorf("%s: default of the flag: got %s, want %s, since a zero limit is that", flag.Name, given, words[3])
		}
		if most := limit.Tag.Get("max"); most != "" && strings.Fields(flag.Tag.Get("value"))[2] != most {
			t.Errorf("%s: got a flag for %s, want at most %s as in loop.Limits", flag.Name, flag.Tag.Get("value"), most)
		}
	}
}

func TestEachFlagOfLimitsSetsItsLimitAndNoOther(t *testing.T) {
	base := []string{"--trusted-proxies", "192.0.2.1"} // without one there is no PROXY protocol
	before, err := parse(t, base...)
	if err != nil {
		t.Fatal(err)
	}
	eachFlag(reflect.ValueOf(limitFlags{}), func(tag reflect.StructTag, _ any) {
		words := strings.Fields(tag.Get("value"))
		var value string
		switch words[0] {
		case "origins":
			value = "https://example.org"
		case "tokens":
			value = "chat"
		case "proxies":
			value = "10.0.0.0/8"
		case "words":
			value = words[2]
		default:
			if value = words[1]; value == "0" { // as by default
				value = words[2]
			}
		}
		after, err := parse(t, append(slices.Clone(base), "--"+tag.Get("name"), value)...)
		if err != nil {
			t.Error(err)
			return
		}
		var changed []string
		for i, a, b := 0, reflect.ValueOf(before.Loop.Limits), reflect.ValueOf(after.Loop.Limits); i < a.NumField(); i++ {
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				changed = append(changed, "--"+flagOf(a.Type().Field(i).Name))
			}
		}
		if want := "--" + tag.Get("name"); len(changed) != 1 || changed[0] != want {
			t.Errorf("%s %s: got other values for the limits of %v, want its own alone", want, value, changed)
		}
	})
}

// flagOf is the name of the flag that sets a limit.
func flagOf(limit string) string {
	field, _ := reflect.TypeFor[limitFlags]().FieldByName(limit)
	return field.Tag.Get("name")
}

func TestWhatIsOnOrOffMayBeTrueOrFalseInTheFile(t *testing.T) {
	all := map[string]bool{"anonymous": true, "centrifuge": true}
	eachFlag(reflect.ValueOf(limitFlags{}), func(tag reflect.StructTag, _ any) {
		if tag.Get("value") == "words off on" {
			all[tag.Get("name")] = true
		}
	})
	if !maps.Equal(all, onOff) {
		t.Errorf("got %v in onOff, want %v, all settings that take on and off", onOff, all)
	}
	for name := range all {
		for value, want := range map[string]string{"true": "on", "false": "off", `"on"`: "on", `"off"`: "off"} {
			s, err := parseConfig(`{"trusted-proxies": "192.0.2.1", "` + name + `": ` + value + `}`)
			if got := textsOf(s.typed)[name]; err != nil || got != want {
				t.Errorf("%s %s: got %q, %v, want %q", name, value, got, err, want)
			}
		}
		for _, value := range []string{`"true"`, `"yes"`, "1", `"ON"`, `""`} {
			if _, err := parseConfig(`{"trusted-proxies": "192.0.2.1", "` + name + `": ` + value + `}`); err == nil || !strings.Contains(err.Error(), "must be o") {
				t.Errorf("%s %s: got %v, want it refused with the two words", name, value, err)
			}
		}
	}
}

// What a text means as a value is what is shown for the value.
func TestSettingsOfKindsAreShownAsTheyAreWritten(t *testing.T) {
	for _, texts := range []map[string]string{
		{"members-max": "off", "history": "off", "history-ttl": "5m", "presence": "off", "join-leave": "asked", "join": "anyone", "publish": "anyone", "mode": "durable"},
		{"members-max": "1", "history": "100000", "history-ttl": "1h30m", "presence": "on", "join-leave": "off", "join": "user", "publish": "user", "mode": "durable"},
		{"members-max": "5", "history": "7", "history-ttl": "1s", "presence": "on", "join-leave": "all", "join": "token", "publish": "member", "mode": "durable"},
		{"members-max": "5", "history": "7", "history-ttl": "1s", "presence": "on", "join-leave": "all", "join": "token", "publish": "token", "mode": "durable"},
		{"members-max": "5", "history": "off", "history-ttl": "1s", "presence": "on", "join-leave": "all", "join": "token", "publish": "server", "mode": "fast"},
	} {
		var args, entry []string
		for name, text := range texts {
			args = append(args, "--"+name, text)
			entry = append(entry, `"`+name+`": "`+text+`"`)
		}
		flags, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parseConfig(`{"groups": [{"match": "*", ` + strings.Join(entry, ", ") + `}]}`)
		if err != nil {
			t.Fatal(err)
		}
		texts[matchKey] = "*"
		for from, s := range map[string]*Settings{"flags": &flags, "the file": &file} {
			kinds := s.Loop.AllKinds()
			if got := KindTexts(&kinds[0]); len(kinds) != 1 || !maps.Equal(got, texts) {
				t.Errorf("from %s: got %v, want %v", from, got, texts)
			}
		}
		if keys := slices.Sorted(slices.Values(KindKeys())); !slices.Equal(keys, slices.Sorted(maps.Keys(texts))) {
			t.Errorf("keys: got %v, want those of %v", keys, texts)
		}
	}
}
