package wsproto

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The grammar of RFC 6455 §9.1 as expressions, for the oracle.
const (
	offerToken  = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	offerBlanks = `[ \t]*`
	offerValue  = "(?:" + offerToken + `|"(?:\\?` + "[!#$%&'*+\\-.^_`|~0-9A-Za-z])+" + `")`
	offerParam  = ";" + offerBlanks + "(" + offerToken + ")" + offerBlanks + "(?:=" + offerBlanks + "(" + offerValue + "))?" + offerBlanks
)

var (
	offerElement = regexp.MustCompile(offerToken + offerBlanks + "(?:" + offerParam + ")*")
	offerList    = regexp.MustCompile(`^[ \t,]*(?:` + offerElement.String() + `(?:,[ \t,]*|$))*$`)
	offerParams  = regexp.MustCompile(offerParam)
)

// slowOffers is the oracle: the answer to a list of offers.
func slowOffers(list string) string {
	if !offerList.MatchString(list) {
		return refused
	}
	for _, element := range offerElement.FindAllString(list, -1) {
		name, _, _ := strings.Cut(element, ";")
		if strings.Trim(name, " \t") != "permessage-deflate" {
			continue
		}
		values := map[string]string{}
		good := true
		for _, m := range offerParams.FindAllStringSubmatch(element, -1) {
			_, twice := values[m[1]]
			value := strings.NewReplacer(`"`, "", `\`, "").Replace(m[2])
			values[m[1]] = value
			bits, _ := strconv.Atoi(value)
			inRange := bits >= 8 && bits <= 15 && strconv.Itoa(bits) == value
			switch m[1] {
			case "server_no_context_takeover", "client_no_context_takeover":
				good = good && value == ""
			case "server_max_window_bits":
				good = good && inRange && bits == 15
			case "client_max_window_bits":
				good = good && (value == "" || inRange)
			default:
				good = false
			}
			good = good && !twice
		}
		if _, asked := values["server_max_window_bits"]; good && asked {
			return windowed
		} else if good {
			return accepted
		}
	}
	return declined
}

func FuzzOffers(f *testing.F) {
	for _, seed := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame, permessage-deflate;server_max_window_bits=15",
		`permessage-deflate; server_max_window_bits="1\5" ; client_no_context_takeover`, "a;b=c;d=\"e\"\npermessage-deflate; mux\n, permessage-deflate",
		"permessage-deflate; server_max_window_bits=9, permessage-deflate; server_no_context_takeover", "foo; a=\"b\nc\"", ",,\t,", "a;", ";a", "a b",
		"permessage-deflate; client_max_window_bits; client_max_window_bits=10", `a;b="`, `a;b="\`, "permessage-deflate; client_max_window_bits = 08",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 || strings.Count(text, "\n") > 100 || valuePrefix([]byte(strings.ReplaceAll(text, "\n", ""))) < len(text)-strings.Count(text, "\n") {
			return // other tests' concern, a head that is too long too
		}
		lines := strings.Split(text, "\n")
		list := strings.Join(lines, ",")
		want := slowOffers(list)
		if got := negotiate(t, true, lines...); got != want {
			t.Fatalf("%q: got %q, want as the oracle %q", lines, got, want)
		}
		if got := negotiate(t, true, list); got != want {
			t.Fatalf("%q in one line: got %q, want %q", list, got, want)
		}
	})
}
