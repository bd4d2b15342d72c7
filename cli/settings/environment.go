package settings

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// UnknownVariables has a warning for each environment variable that is named like a setting and is none. It is no error, as
// an unknown key of the config file is: other programs may set variables too. But without a warning a misspelt variable
// would silently leave its setting at the default.
func UnknownVariables(environ []string) (complaints []string) {
	var known []string
	for _, tag := range tags() {
		if name := tag.Get("env"); name != "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "RINGCAST_") || slices.Contains(known, name) || ofService.MatchString(v) {
			continue
		}
		mend := "ringcast start --help has all of them"
		if near := nearest(name, known, len("RINGCAST_")); near != "" {
			mend = "did you mean " + near + "?"
		}
		complaints = append(complaints, fmt.Sprintf("%s is set but is not a setting; %s", name, mend))
	}
	slices.Sort(complaints)
	return complaints
}

// nearest is the name that a misspelt one was probably meant to be; empty: all have mostly other letters. So many at its beginning are the
// same in all.
func nearest(name string, known []string, same int) string {
	near := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	if distance(name, near)*2 > len(name)-same {
		return ""
	}
	return near
}

// ofService matches the variables that Kubernetes makes for a service called ringcast, or ringcast-admin and the like, and Docker
// for a container that is linked under such a name. Where a name alone could be somebody's guess at a setting, the value tells.
var ofService = regexp.MustCompile(`^RINGCAST(_[A-Z0-9_]+)?_(` +
	`SERVICE_HOST=|SERVICE_PORT(_[A-Z0-9_]+)?=|` +
	`PORT=(tcp|udp|sctp)://|PORT_[0-9]+_(TCP|UDP|SCTP)(_PROTO|_ADDR|_START|_END|_PORT|_PORT_START|_PORT_END)?=|` +
	`NAME=/|ENV_)`)

// distance is the number of bytes to insert, delete or replace to turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances of the part of a seen so far from each prefix of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
