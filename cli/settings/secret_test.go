package settings

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestSecretsAreTakenFromFlagsEnvironmentAndFileAsTheyStand(t *testing.T) {
	for what, c := range map[string]struct {
		world world
		args  []string
		want  []string
	}{
		"none":                          {},
		"one flag, with a comma":        {args: []string{"--api-key", "a,b"}, want: []string{"a,b"}},
		"two flags":                     {args: []string{"--api-key", "first", "--api-key=second"}, want: []string{"first", "second"}},
		"the environment":               {world: world{environ: []string{`RINGCAST_API_KEY=first,sec\,ond`}}, want: []string{"first", "sec,ond"}},
		"an empty variable":             {world: world{environ: []string{`RINGCAST_API_KEY=`}}},
		"a flag before the environment": {world: world{environ: []string{`RINGCAST_API_KEY=no`}}, args: []string{"--api-key", "yes"}, want: []string{"yes"}},
		"a string in the file":          {world: world{config: `{"api-key": "a,b"}`}, args: []string{"--config", configName}, want: []string{"a,b"}},
		"an array in the file": {world: world{config: `{"api-key": ["first\\", "sec,ond"]}`}, args: []string{"--config", configName},
			want: []string{`first\`, "sec,ond"}},
		"the environment before the file": {world: world{config: `{"api-key": "no"}`, environ: []string{`RINGCAST_API_KEY=yes`}},
			args: []string{"--config", configName}, want: []string{"yes"}},
	} {
		if s, err := c.world.parse(c.args...); err != nil || !slices.Equal(s.APIKeys, c.want) {
			t.Errorf("%s: got %q, %v, want %q", what, s.APIKeys, err, c.want)
		}
	}
}

// shownSecret must be in no text that these tests see.
const shownSecret = "Kx7secretQ9"

func TestAWrongSecretIsRefusedAndNotShown(t *testing.T) {
	for what, c := range map[string]struct {
		world world
		args  []string
	}{
		"a space":                     {args: []string{"--api-key", "good-one", "--api-key", shownSecret + " x"}},
		"a space, in the environment": {world: world{environ: []string{"RINGCAST_API_KEY=" + shownSecret + " x"}}},
		"nothing":                     {args: []string{"--api-key", ""}},
		"an object":                   {world: world{config: `{"api-key": {"a": "` + shownSecret + `"}}`}, args: []string{"--config", configName}},
		"an array of numbers":         {world: world{config: `{"api-key": ["` + shownSecret + `", 1]}`}, args: []string{"--config", configName}},
		"a number":                    {world: world{config: `{"api-key": 12345678}`}, args: []string{"--config", configName}},
		"a zero":                      {world: world{config: `{"api-key": "` + shownSecret + `\u0000"}`}, args: []string{"--config", configName}},
		"an unknown flag":             {args: []string{"--api-kye=" + shownSecret}},
		"too many":                    {args: slices.Repeat([]string{"--api-key", shownSecret}, apiKeysMax+1)},
	} {
		_, err := c.world.parse(c.args...)
		refused(t, what, err)
		if text := fmt.Sprint(err); strings.Contains(text, shownSecret) || strings.Contains(text, "12345678") {
			t.Errorf("%s: the error shows the secret: %q", what, text)
		}
	}
}

func TestAReloadTakesSecretsUpAndShowsTheirNumber(t *testing.T) {
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
	none, one, other, two := parsed(), parsed(shownSecret), parsed(shownSecret+"2"), parsed(shownSecret, shownSecret+"2")
	for _, c := range []struct {
		from, to Settings
		want     string // empty: no change
	}{
		{none, one, "api-key: none → 1, hidden"},
		{one, two, "api-key: 1, hidden → 2, hidden"},
		{one, other, "api-key: 1, hidden → others, 1, hidden"},
		{two, none, "api-key: 2, hidden → none"},
		{two, two, ""},
	} {
		next, changes, restart := c.from.Adopt(&c.to)
		got := strings.Trim(fmt.Sprint(changes), "[]")
		if got != c.want || len(restart) > 0 || !slices.Equal(next.APIKeys, c.to.APIKeys) {
			t.Errorf("from %d to %d keys: got %q, %q and %d keys, want %q", len(c.from.APIKeys), len(c.to.APIKeys), got, restart, len(next.APIKeys), c.want)
		}
	}
	if got := two.Changeable()["api-key"]; got != "2, hidden" {
		t.Errorf("in a status: got %q, want their number", got)
	}
}

func TestSecretsHaveNoTextButTheirNumber(t *testing.T) {
	s := Secrets{shownSecret, "another"}
	asJSON, _ := json.Marshal(struct{ S Secrets }{s})
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v", struct{ S Secrets }{s}), string(asJSON)} {
		if strings.Contains(text, shownSecret) || strings.Contains(text, fmt.Sprintf("%x", shownSecret)) || !strings.Contains(text, "2, hidden") {
			t.Errorf("got %q", text)
		}
	}
}

func TestShortSecretsAreWarnedOfAndNotRefused(t *testing.T) {
	s, err := parse(t, "--api-key", "k", "--api-key", strings.Repeat("x", shortSecretBytes), "--api-key", "fifteen-bytes-x")
	if err != nil || s.ShortAPIKeys() != "1 3 of 3" {
		t.Errorf("got %q, %v, want the first and the third", s.ShortAPIKeys(), err)
	}
	if warnings := fmt.Sprint(s.Warnings()); !strings.Contains(warnings, "1 3 of 3") || strings.Contains(warnings, "fifteen") {
		t.Errorf("warnings: got %s", warnings)
	}
}
