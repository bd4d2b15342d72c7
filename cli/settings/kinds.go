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
)

// fileTexts are the settings that the config file alone can hold: lists of objects do not fit on a command line.
type fileTexts struct {
	Groups string `name:"groups"` // JSON without white space, empty for none
}

// patternBytesMax bounds a pattern, with which a name may have to be compared.
const patternBytesMax = 1_024

const matchKey = "match"

// kindFlags are the flags that a kind may have values of its own for: those of the fields that loop.Kind and limitFlags share.
// kindKeys are the keys of an entry of groups: match, and the names of those flags.
var (
	kindFlags []reflect.StructField
	kindKeys  = []string{matchKey}
)

func init() {
	kind, flags := reflect.TypeFor[loop.Kind](), reflect.TypeFor[limitFlags]()
	for i := range kind.NumField() {
		if flag, is := flags.FieldByName(kind.Field(i).Name); is {
			kindFlags, kindKeys = append(kindFlags, flag), append(kindKeys, flag.Tag.Get("name"))
		}
	}
}

// kindOfFlags is what the flags say of groups that no kind matches.
func kindOfFlags(l *loop.Limits) (kind loop.Kind) {
	from, into := reflect.ValueOf(l).Elem(), reflect.ValueOf(&kind).Elem()
	for _, flag := range kindFlags {
		into.FieldByName(flag.Name).Set(from.FieldByName(flag.Name))
	}
	return kind
}

// kinds are the kinds of groups in the config file. What an entry does not set is taken from the flags.
func (c *checker) kinds(flags loop.Kind) []loop.Kind {
	file := c.g.reading.file
	if file == nil || file.groups == nil {
		return nil
	}
	kinds, err := readKinds(file.groups, flags)
	if err != nil && c.err == nil {
		c.err = Usagef("--config %q: %v", file.name, err)
	}
	return kinds
}

// groupsText is the setting as differences compare it.
func (r *reading) groupsText() string {
	var text bytes.Buffer
	if r.file == nil || json.Compact(&text, r.file.groups) != nil || text.String() == "[]" {
		return ""
	}
	return text.String()
}

// readKinds reads the value of groups.
func readKinds(value []byte, flags loop.Kind) ([]loop.Kind, error) {
	const example = `[{"match": "chat:*", "members-max": 100}]`
	var entries []json.RawMessage
	if err := json.Unmarshal(value, &entries); err != nil || entries == nil {
		return nil, fmt.Errorf("key \"groups\" is not an array; write an array of objects, such as %s", example)
	}
	if len(entries) > loop.KindsMax {
		return nil, fmt.Errorf("key \"groups\" has %d entries, more than the %d allowed; use patterns that match more names", len(entries), loop.KindsMax)
	}
	kinds := make([]loop.Kind, 0, len(entries))
	for i, entry := range entries {
		kind, err := readKind(entry, flags)
		if err == nil {
			err = reachable(kind.Match, kinds)
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d of \"groups\" %v", i+1, err)
		}
		kinds = append(kinds, kind)
	}
	return kinds, nil
}

// readKind reads one entry.
func readKind(entry []byte, flags loop.Kind) (loop.Kind, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(entry, &values); err != nil || values == nil {
		return loop.Kind{}, fmt.Errorf(`is not an object; use for example {"match": "chat:*", "members-max": 100}`)
	}
	if key := repeatedKey(entry); key != "" {
		return loop.Kind{}, fmt.Errorf("has the key %q twice; write it once", key)
	}
	for key := range values {
		if !slices.Contains(kindKeys, key) {
			nearest := slices.MinFunc(kindKeys, func(a, b string) int { return distance(key, a) - distance(key, b) })
			return loop.Kind{}, fmt.Errorf("has an unknown key %q; did you mean %q? The keys are %s", key, nearest, strings.Join(kindKeys, ", "))
		}
	}
	kind := flags
	var err error
	if kind.Match, err = readPattern(values[matchKey]); err != nil {
		return kind, err
	}
	for _, flag := range kindFlags {
		name := flag.Tag.Get("name")
		value, said := values[name]
		if !said {
			continue
		}
		text := onOffText(name, value)
		_ = json.Unmarshal(value, &text) // a string is allowed too; anything else stays as it is, and is no number, no duration and no word
		if mend := readValue(flag.Tag, text, reflect.ValueOf(&kind).Elem().FieldByName(flag.Name)); mend != "" {
			return kind, fmt.Errorf("(%q) has %s %.100s, which %s", kind.Match, name, value, mend)
		}
	}
	_, kind.JoinSaid = values["join"]
	_, kind.PublishSaid = values["publish"]
	if _, said := values["history"]; said && kind.Fast && kind.History > 0 {
		return kind, fmt.Errorf("(%q) has a history, and the mode fast, in which nothing is kept; leave one of them off, or write \"mode\": \"durable\"", kind.Match)
	}
	if kind.Fast {
		kind.History = 0 // that of the flags
	}
	return kind, nil
}

// KindKeys are the keys of an entry of groups.
func KindKeys() []string { return slices.Clone(kindKeys) }

// KindTexts are the values of a kind as an operator writes them, by KindKeys.
func KindTexts(kind *loop.Kind) map[string]string {
	texts := map[string]string{matchKey: kind.Match}
	for _, flag := range kindFlags {
		texts[flag.Tag.Get("name")] = valueText(flag.Tag, reflect.ValueOf(kind).Elem().FieldByName(flag.Name))
	}
	return texts
}

// readPattern reads the value of match. Several stars in a row mean the same as one, and become one.
func readPattern(value []byte) (string, error) {
	if value == nil {
		return "", fmt.Errorf(`has no "match"; say which groups it is for, such as "match": "chat:*"`)
	}
	var match *string
	switch err := json.Unmarshal(value, &match); {
	case err != nil || match == nil:
		return "", fmt.Errorf(`has "match" %.100s; write a pattern of names in quotes, such as "chat:*"`, value)
	case *match == "":
		return "", fmt.Errorf(`has an empty "match"; write a pattern of names, such as "chat:*", or "*" for all others`)
	case len(*match) > patternBytesMax:
		return "", fmt.Errorf(`has a "match" of %d bytes, more than the %d allowed; shorten it with *`, len(*match), patternBytesMax)
	}
	return stars.ReplaceAllString(*match, "*"), nil
}

var stars = regexp.MustCompile(`\*\*+`)

// reachable says why a pattern can never be the first that matches: because an earlier one is the same, or matches
// everything.
func reachable(match string, before []loop.Kind) error {
	for i, kind := range before {
		switch kind.Match {
		case match:
			return fmt.Errorf("(%q) has the pattern of entry %d; leave one of them off", match, i+1)
		case "*":
			return fmt.Errorf("(%q) is never reached, since \"*\" in entry %d matches every name; put it before that entry", match, i+1)
		}
	}
	return nil
}

// OutOfReach names the kinds of groups that are for clients with a token, as to who may join and who may publish, where no tokens are
// configured, and no app has clients that could show a signature in place of one, so that no client can. Empty: there are none.
func (s *Settings) OutOfReach() (join, publish string) {
	if s.Loop.Tokens != nil {
		return "", ""
	}
	of := func(access func(*loop.Kind) loop.Access, anyChannel bool) string {
		var patterns []string
		for _, kind := range s.Loop.AllKinds() {
			if who := access(&kind); (who == loop.Users || who == loop.Tokens) && !signers(s.Loop.Apps, &kind, anyChannel && who == loop.Users) {
				patterns = append(patterns, fmt.Sprintf("%q", kind.Match))
			}
		}
		return shortList(patterns)
	}
	return of(func(k *loop.Kind) loop.Access { return k.Join }, true), of(func(k *loop.Kind) loop.Access { return k.Publish }, false)
}

// shortList is the first few of a list of texts, and how many more there are.
func shortList(texts []string) string {
	const most = 5
	if more := len(texts) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", shown(strings.Join(texts[:most], ", ")), more)
	}
	return strings.Join(texts, ", ")
}
