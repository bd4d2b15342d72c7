package settings

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
)

// Change is a setting's old and new value, as they were written.
type Change struct {
	Setting string `json:"setting"`
	Old     string `json:"old"`
	New     string `json:"new"`
}

// String is how a reload tells it.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s → %s", c.Setting, shown(c.Old), shown(c.New))
}

// shownBytesMax bounds what is told of a value: a line of the log should not have the length of a config file.
const shownBytesMax = 1_000

func shown(text string) string {
	if len(text) <= shownBytesMax {
		return cmp.Or(text, "none")
	}
	return strings.ToValidUTF8(text[:shownBytesMax], "") + "…"
}

// Adopt gives s with what can be changed while a server runs taken from read, what that changes, and the names of the
// settings that differ too and need a restart.
func (s *Settings) Adopt(read *Settings) (next Settings, changed []Change, needsRestart []string) {
	next = *s
	next.Loop.Limits, next.typed.limitFlags, next.typed.fileTexts = read.Loop.Limits, read.typed.limitFlags, read.typed.fileTexts
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

// Changeable gives by name what Adopt takes over, as it was written; groups only where there are some.
func (s *Settings) Changeable() map[string]string {
	texts := map[string]string{"stop-timeout": s.typed.StopTimeout, "log-level": s.typed.LogLevel}
	for name, text := range textsOf(s.typed.limitFlags) {
		texts[name] = text
	}
	if s.typed.Groups != "" {
		texts["groups"] = s.typed.Groups
	}
	return texts
}

// differences compares two sets of texts in the order in which they are declared. They are compared as they were
// written, because that is what somebody has changed: auto stays auto, whatever it comes to now.
func differences(a, b *texts) []Change {
	old := textsOf(*a)
	changes := []Change{}
	eachFlag(reflect.ValueOf(*b), func(tag reflect.StructTag, value any) {
		name, text := tag.Get("name"), fmt.Sprint(value)
		if old[name] != text {
			changes = append(changes, Change{name, old[name], text})
		}
	})
	return changes
}

func textsOf(flags any) map[string]string {
	texts := map[string]string{}
	eachFlag(reflect.ValueOf(flags), func(tag reflect.StructTag, value any) { texts[tag.Get("name")] = fmt.Sprint(value) })
	return texts
}
