package settings

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shownKey must be in no text that these tests see.
const shownKey = "Kx7secretQ9"

func TestAPIKeysAreTakenFromFlagsEnvironmentAndFile(t *testing.T) {
	for what, c := range map[string]struct {
		world world
		args  []string
		want  []string
	}{
		"none":                          {},
		"a flag":                        {args: []string{"--api-key", "a,b"}, want: []string{"a,b"}},
		"two flags":                     {args: []string{"--api-key", "first", "--api-key=second"}, want: []string{"first", "second"}},
		"the environment":               {world: world{environ: []string{"RINGCAST_API_KEY=first\nsecond"}}, want: []string{"first", "second"}},
		"a flag before the environment": {world: world{environ: []string{`RINGCAST_API_KEY=no`}}, args: []string{"--api-key", "yes"}, want: []string{"yes"}},
		"a string in the file":          {world: world{config: `{"api-key": "a,b"}`}, args: []string{"--config", configName}, want: []string{"a,b"}},
		"an array in the file":          {world: world{config: `{"api-key": ["first", "sec,ond"]}`}, args: []string{"--config", configName}, want: []string{"first", "sec,ond"}},
	} {
		if s, err := c.world.parse(c.args...); err != nil || !slices.Equal(s.APIKeys, c.want) {
			t.Errorf("%s: got %q, %v, want %q", what, s.APIKeys, err, c.want)
		}
	}
}

func TestAWrongAPIKeyIsRefusedAndNotShown(t *testing.T) {
	for what, c := range map[string]struct {
		world world
		args  []string
	}{
		"a space":                     {args: []string{"--api-key", "good-one", "--api-key", shownKey + " x"}},
		"a letter beyond ASCII":       {args: []string{"--api-key", shownKey + "é"}},
		"a space, in the environment": {world: world{environ: []string{"RINGCAST_API_KEY=" + shownKey + " x"}}},
		"nothing":                     {args: []string{"--api-key", ""}},
		"an object":                   {world: world{config: `{"api-key": {"a": "` + shownKey + `"}}`}, args: []string{"--config", configName}},
		"an object of an unknown key": {world: world{config: `{"start": {"api-key": "` + shownKey + `"}}`}, args: []string{"--config", configName}},
		"an array of more than texts": {world: world{config: `{"api-key": ["` + shownKey + `", 1]}`}, args: []string{"--config", configName}},
		"an unknown flag":             {args: []string{"--api-kye=" + shownKey}},
		"one that looks like a flag":  {args: []string{"--api-key", "--" + shownKey}},
		"too many":                    {args: slices.Repeat([]string{"--api-key", shownKey}, apiKeysMax+1)},
	} {
		_, err := c.world.parse(c.args...)
		refused(t, what, err)
		if text := fmt.Sprint(err); strings.Contains(text, shownKey) {
			t.Errorf("%s: the error shows the key: %q", what, text)
		}
	}
}

func TestAReloadTakesAPIKeysUpAndShowsTheirNumber(t *testing.T) {
	parsed := func(keys ...string) Settings {
		var args []string
		for _, key := range keys {
			args = append(args, "--api-key", key)
		}
		s, err := parse(t, args...)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	none, one, other, two := parsed(), parsed(shownKey), parsed(shownKey+"2"), parsed(shownKey, shownKey+"2")
	for _, c := range []struct {
		from, to Settings
		want     string // empty: no change
	}{
		{none, one, "api-key: none → 1 secret"},
		{one, two, "api-key: 1 secret → 2 secrets"},
		{one, other, "api-key: 1 secret → 1 secret, with other contents"},
		{two, none, "api-key: 2 secrets → none"},
		{two, two, ""},
	} {
		next, changes, restart := c.from.Adopt(&c.to)
		got := strings.Trim(fmt.Sprint(changes), "[]")
		if got != c.want || len(restart) > 0 || !slices.Equal(next.APIKeys, c.to.APIKeys) {
			t.Errorf("from %d to %d keys: got %q, %q and %d keys, want %q", len(c.from.APIKeys), len(c.to.APIKeys), got, restart, len(next.APIKeys), c.want)
		}
	}
	if typed := strings.Join(two.typed.APIKeys, ""); typed != "" {
		t.Errorf("what a reload compares: got keys of %d bytes, want nothing left of them", len(typed))
	}
	if got := two.Changeable()["api-key"]; got != "2 secrets" {
		t.Errorf("in a status: got %q, want their number", got)
	}
}

func TestShortAPIKeysAreWarnedOfAndNotRefused(t *testing.T) {
	s, err := parse(t, "--api-key", "k", "--api-key", strings.Repeat("x", apiKeyBytesGood), "--api-key", "fifteen-bytes-x")
	if err != nil || !strings.Contains(s.APIWarning(), ": 2.") {
		t.Errorf("got %q, %v, want two to be warned of", s.APIWarning(), err)
	}
	if warnings := fmt.Sprint(s.Warnings()); !strings.Contains(warnings, "16 bytes: 2.") || strings.Contains(warnings, "fifteen") {
		t.Errorf("warnings: got %s", warnings)
	}
	if s, _ := parse(t, "--api-key", strings.Repeat("x", apiKeyBytesGood)); s.APIWarning() != "" {
		t.Errorf("a long key: got %q, want nothing", s.APIWarning())
	}
}
