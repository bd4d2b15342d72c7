package settings

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// Change is a setting's old and new value, as they were written.
type Change struct {
	Setting string `json:"setting"`
	Old     string `json:"old"`
	New     string `json:"new"`
}

// String is the change as a reload reports it.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s → %s", c.Setting, shown(c.Old), shown(c.New))
}

// shownBytesMax bounds how much of a value is shown: a line of the log should not be as long as a config file.
const shownBytesMax = 1_000

func shown(text string) string {
	if len(text) <= shownBytesMax {
		return cmp.Or(text, "none")
	}
	return strings.ToValidUTF8(text[:shownBytesMax], "") + "…"
}

// Adopt returns s with those settings of read that can change while a server runs, the changes, and the names of the other
// settings that differ and need a restart.
func (s *Settings) Adopt(read *Settings) (next Settings, changed []Change, needsRestart []string) {
	next = *s
	next.Loop.Limits, next.typed.limitFlags, next.typed.fileTexts = read.Loop.Limits, read.typed.limitFlags, read.typed.fileTexts
	next.HTTP, next.typed.httpFlags = read.HTTP, read.typed.httpFlags
	next.MemoryFrom = read.MemoryFrom
	next.adoptTLS(read)
	next.adoptTokens(s, read)
	next.adoptAPI(read)
	next.adoptApps(s, read)
	next.adoptCluster(s)
	next.AdminHosts, next.typed.AdminHosts = read.AdminHosts, read.typed.AdminHosts
	next.StopTimeout, next.typed.StopTimeout = read.StopTimeout, read.typed.StopTimeout
	next.LogLevel, next.typed.LogLevel = read.LogLevel, read.typed.LogLevel

	needsRestart = []string{}
	for _, c := range differences(&next.typed, &read.typed) {
		needsRestart = append(needsRestart, c.Setting)
	}
	if read.RunDir != s.RunDir {
		needsRestart = append(needsRestart, "run-dir")
	}
	return next, differences(&s.typed, &next.typed), needsRestart
}

// Changeable returns the settings that Adopt takes over, by name and as they were written; groups only if there are any.
func (s *Settings) Changeable() map[string]string {
	texts := map[string]string{"admin-hosts": s.typed.AdminHosts, "stop-timeout": s.typed.StopTimeout, "log-level": s.typed.LogLevel}
	for _, flags := range []any{s.typed.limitFlags, s.typed.httpFlags, s.typed.tlsChangeFlags} {
		maps.Copy(texts, textsOf(flags))
	}
	for _, flags := range []any{s.typed.tokenFlags, s.typed.apiFlags, s.typed.appFlags} {
		for name, text := range textsOf(flags) {
			texts[name] = text
		}
	}
	if s.typed.Groups != "" {
		texts["groups"] = s.typed.Groups
	}
	return texts
}

// differences compares two sets of texts in the order in which they are declared. They are compared as they were
// written, because that is what an operator has changed: auto is still auto, even if it stands for another number now.
func differences(a, b *texts) []Change {
	old := textsOf(*a)
	changes := []Change{}
	eachFlag(reflect.ValueOf(*b), func(tag reflect.StructTag, value any) {
		name, text := tag.Get("name"), textOf(value)
		if old[name] == text && a.contents[name] != b.contents[name] {
			text += ", with other contents"
		}
		if old[name] != text {
			changes = append(changes, Change{name, old[name], text})
		}
	})
	return changes
}

func textsOf(flags any) map[string]string {
	texts := map[string]string{}
	eachFlag(reflect.ValueOf(flags), func(tag reflect.StructTag, value any) { texts[tag.Get("name")] = textOf(value) })
	return texts
}

// textOf is a flag's value as it was written.
func textOf(value any) string {
	if list, is := value.([]string); is {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(value)
}
