package report

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
)

// Merge merges files of the same machine and tree, such as the rounds of a verb that were written one by one. Figures of two
// machines, two trees or an unknown tree do not go into one median: they stay separate files.
func Merge(files ...*File) []*File {
	var all []*File
	for _, f := range files {
		at := slices.IndexFunc(all, func(to *File) bool { return to.Machine == f.Machine && to.Commit == f.Commit && f.Commit != "" })
		if at < 0 {
			once := *f
			once.Runs = slices.Clone(f.Runs)
			all = append(all, &once)
			continue
		}
		to := all[at]
		to.Runs = append(inRounds(to.Runs, 0), inRounds(f.Runs, lastRound(to.Runs))...)
		if !slices.Contains(strings.Split(to.Command, "; "), f.Command) {
			to.Command += "; " + f.Command
		}
		if f.Started.Before(to.Started) {
			to.Started = f.Started
		}
	}
	return all
}

// inRounds renumbers the rounds of a file that follows another one, so that runs of one round stay together. Runs of
// a single verb have no round: the file is one.
func inRounds(runs []*Run, before int) []*Run {
	all := make([]*Run, len(runs))
	for i, r := range runs {
		numbered := *r
		numbered.Round = before + max(r.Round, 1)
		all[i] = &numbered
	}
	return all
}

func lastRound(runs []*Run) int {
	last := 1
	for _, r := range runs {
		last = max(last, r.Round)
	}
	return last
}

// origin is what a run that stands alone must carry with it.
type origin struct {
	Command string  `json:"command"`
	Commit  string  `json:"commit,omitempty"`
	Machine Machine `json:"machine"`
}

// JSON writes all runs of the files as one list, each with its machine.
func JSON(w io.Writer, files ...*File) error {
	type standing struct {
		*Run
		origin
	}
	list := struct {
		Format int        `json:"format"`
		Runs   []standing `json:"runs"`
	}{Format: Format}
	for _, f := range files {
		for _, r := range f.Runs {
			list.Runs = append(list.Runs, standing{r, origin{f.Command, f.Commit, f.Machine}})
		}
	}
	return indented(w, list)
}

func indented(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
