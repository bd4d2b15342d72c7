package cli

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// kindsInForce are the kinds of groups as the loops work with them, in the order in which a group's name is compared with their
// patterns. Each is an entry of the config file's list groups, with a text for every key; the last matches all names.
type kindsInForce []map[string]string

func kindTexts(kinds []loop.Kind) kindsInForce {
	all := make(kindsInForce, 0, len(kinds))
	for i := range kinds {
		all = append(all, settings.KindTexts(&kinds[i]))
	}
	return all
}

// Bounds on the table. There may be 1,000 kinds, with patterns of 1,024 bytes; --json has all of it.
const (
	kindRowsMax     = 20
	patternRunesMax = 40
)

// text is a row for each kind, the last one included; empty where a server tells of none.
func (ks kindsInForce) text() string {
	if len(ks) == 0 {
		return ""
	}
	t := &table{}
	keys := settings.KindKeys()
	for i, key := range keys {
		t.columns = append(t.columns, column{key, i > 0})
	}
	rows := ks
	left := len(ks) - kindRowsMax
	if left > 0 {
		rows = append(ks[:kindRowsMax-1:kindRowsMax-1], ks[len(ks)-1])
	}
	for _, kind := range rows {
		row := []string{shortened(kind[keys[0]], patternRunesMax)}
		for _, key := range keys[1:] {
			row = append(row, kind[key])
		}
		t.rows = append(t.rows, row)
	}
	text := tablePart("KINDS OF GROUPS", t)
	if left > 0 {
		text += fmt.Sprintf("There are %s more before the last; --json has them.\n", countText(left))
	}
	return text
}

// shortened is a text of at most so many runes, of which the last says that it has been cut. What would disturb a table is left out.
func shortened(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
