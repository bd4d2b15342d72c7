package test

import (
	"fmt"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// calmHistory is a group in which nothing went wrong, although something happened: three messages of publisher 0, two of publisher 1, one of
// them unknown and repeated by its key, one refused and said again, two of unknown fate, one of which was heard after the last message. Offsets are not dense.
func calmHistory() ([]utterance, []hearing) {
	all := []utterance{
		{0, "a1", false, []told{{saidOK, 3}}},
		{0, "a2", true, []told{{saidUnknown, 0}, {saidUnavailable, 0}, {saidOK, 4}}},
		{0, "a3", false, []told{{saidBusy, 0}, {saidOK, 12}}},
		{0, "a4", false, []told{{saidUnavailable, 0}}},
		{1, "b1", false, []told{{saidOK, 8}}},
		{1, "b2", false, []told{{saidUnknown, 0}}},
		{1, "b3", false, []told{{saidCut, 0}}},
		{1, "last", true, []told{{saidOK, 20}}},
	}
	order := []heard{{3, "a1"}, {4, "a2"}, {8, "b1"}, {9, "b2"}, {12, "a3"}, {20, "last"}}
	plain := slices.Clone(order)
	for i := range plain {
		plain[i].offset = 0
	}
	return all, []hearing{
		{who: "stays on 1", heard: slices.Clone(order), ended: true},
		{who: "roams from 5", from: 5, heard: slices.Clone(order[2:]), ended: true},
		{who: "plain", heard: plain, ended: true},
		{who: "plain, whose node died", heard: slices.Clone(plain[:3])},
		{who: "plain, who came later", anywhere: true, heard: slices.Clone(plain[2:]), ended: true},
		{who: "history", heard: append(slices.Clone(order), heard{25, "b3"}), ended: true},
		{who: "not recovered", from: 3, heard: slices.Clone(order[1:3])},
	}
}

func TestTheJudgeOfAClusterFindsNoFaultWhereThereIsNone(t *testing.T) {
	t.Parallel()
	all, hearings := calmHistory()
	v := judgeGroup(all, hearings, "last")
	equalTexts(t, "faults", v.faults, nil)
	got := fmt.Sprint(v.ok, v.busy, v.unavailable, v.unknown, v.cut, v.lateHeard, v.repeated, v.messages)
	equal(t, "ok, busy, unavailable, unknown, cut, heard of those, repeats, messages", got, "5 1 2 2 1 2 2 7")
}

// Each is one thing gone wrong in the calm history, and what the judge says of it.
func TestTheJudgeOfAClusterFindsEachFault(t *testing.T) {
	t.Parallel()
	drop := func(h *hearing, i int) { h.heard = slices.Delete(h.heard, i, i+1) }
	everywhere := func(all []hearing, text string) {
		for i := range all {
			all[i].heard = slices.DeleteFunc(all[i].heard, func(m heard) bool { return m.text == text })
		}
	}
	for name, c := range map[string]struct {
		spoil func(all []utterance, hearings []hearing)
		want  string
	}{
		"a member misses one in the middle":  {func(_ []utterance, h []hearing) { drop(&h[0], 2) }, `stays on 1 heard "b2" at its place 2, want "b1"`},
		"a plain member misses one":          {func(_ []utterance, h []hearing) { drop(&h[2], 1) }, `plain heard "b1" at its place 1, want "a2"`},
		"a member misses the last":           {func(_ []utterance, h []hearing) { drop(&h[1], 3) }, `roams from 5 missed the last 1 messages`},
		"a member misses the first":          {func(_ []utterance, h []hearing) { drop(&h[1], 0) }, `roams from 5 heard "b2" at its place 0, want "b1"`},
		"who came later misses one":          {func(_ []utterance, h []hearing) { drop(&h[4], 2) }, `plain, who came later heard "last" at its place 2`},
		"who was cut off has a hole":         {func(_ []utterance, h []hearing) { drop(&h[3], 1) }, `plain, whose node died heard "b1" at its place 1`},
		"a member hears one twice":           {func(_ []utterance, h []hearing) { h[0].heard = slices.Insert(h[0].heard, 1, heard{3, "a1"}) }, `offset 3, after offset 3`},
		"a plain member hears one twice":     {func(_ []utterance, h []hearing) { h[2].heard = slices.Insert(h[2].heard, 1, heard{0, "a1"}) }, `plain heard "a1" at its place 1`},
		"a resume gives one that was known":  {func(_ []utterance, h []hearing) { h[1].heard = slices.Insert(h[1].heard, 0, heard{4, "a2"}) }, `offset 4, after offset 5`},
		"two in another order":               {func(_ []utterance, h []hearing) { h[0].heard[1], h[0].heard[2] = h[0].heard[2], h[0].heard[1] }, `offset 4, after offset 8`},
		"two in another order, plainly":      {func(_ []utterance, h []hearing) { h[2].heard[1], h[2].heard[2] = h[2].heard[2], h[2].heard[1] }, `plain heard "b1" at its place 1`},
		"an offset is two messages":          {func(_ []utterance, h []hearing) { h[6].heard[1].text = "a3" }, `"a3" at offset 8, where`},
		"one member alone hears what is not": {func(_ []utterance, h []hearing) { h[0].heard = slices.Insert(h[0].heard, 1, heard{0, "ghost"}) }, `heard "ghost"`},
		"all hear what nobody said":          {func(u []utterance, _ []hearing) { u[5].text = "another" }, `"b2" was heard, and nobody said it`},
		"ok, and nobody heard it":            {func(_ []utterance, h []hearing) { everywhere(h, "b1") }, `"b1" was answered ok and nobody heard it`},
		"ok at last, and nobody heard it":    {func(_ []utterance, h []hearing) { everywhere(h, "a2") }, `"a2" was answered ok and nobody heard it`},
		"ok with another offset":             {func(u []utterance, _ []hearing) { u[0].answers[0].offset = 2 }, `"a1" was answered ok with offset 2, and heard at 3`},
		"unavailable, and heard":             {func(u []utterance, _ []hearing) { u[5].answers[0].code = saidUnavailable }, `"b2" was refused ([unavailable]), and heard at offset 9`},
		"busy, and heard":                    {func(u []utterance, _ []hearing) { u[5].answers[0].code = saidBusy }, `"b2" was refused ([busy]), and heard at offset 9`},
		"silence":                            {func(u []utterance, _ []hearing) { u[3].answers[0].code = saidNothing }, `"a4" was never answered`},
		"no attempt that was answered":       {func(u []utterance, _ []hearing) { u[3].answers = nil }, `"a4" was never answered`},
		"another answer":                     {func(u []utterance, _ []hearing) { u[3].answers[0].code = "internal" }, `"a4" was answered "internal"`},
		"a test that repeats without a key":  {func(u []utterance, _ []hearing) { u[1].keyed = false }, `"a2" has no key`},
		"what one said is not in its order":  {func(u []utterance, _ []hearing) { u[0], u[4] = u[4], u[0]; u[0].publisher, u[4].publisher = 0, 0 }, `publisher 0 said "a1" (offset 3) after`},
		"nobody is told offsets": {func(_ []utterance, all []hearing) {
			for _, h := range all {
				for i := range h.heard {
					h.heard[i].offset = 0
				}
			}
		}, `nobody was told offsets`},
		"a repeat is heard twice": {func(_ []utterance, all []hearing) {
			for i := range all {
				if h := &all[i]; h.ended {
					offset := uint64(0)
					if h.heard[0].offset > 0 {
						offset = 15
					}
					h.heard = slices.Insert(h.heard, len(h.heard)-1, heard{offset, "a2"})
				}
			}
		}, `"a2" was heard 2 times, at offsets [4 15]`},
	} {
		t.Run(name, func(t *testing.T) {
			all, hearings := calmHistory()
			c.spoil(all, hearings)
			v := judgeGroup(all, hearings, "last")
			if !slices.ContainsFunc(v.faults, func(fault string) bool { return strings.Contains(fault, c.want) }) {
				t.Errorf("faults: got %s, want one with %q", brief(v.faults), c.want)
			}
		})
	}
}

func TestTheJudgeOfAClusterIsPure(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "cluster_judge_test.go", nil, parser.ImportsOnly)
	must(t, err)
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		must(t, err)
		if slices.ContainsFunc(impure, func(rule struct{ what, why string }) bool { return rule.what == name }) || name == "testing" {
			t.Errorf("the judge imports %s: it is to know neither servers nor time", name)
		}
	}
}
