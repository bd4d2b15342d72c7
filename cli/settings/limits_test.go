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
	"Kinds": "a list of objects, which only the config file can hold; key groups",
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
		case "bool", "words":
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
