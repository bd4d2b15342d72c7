package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringcast/bench/report"
)

// backendDoor is a server that is published to over HTTP.
func backendDoor(t *testing.T, answer func(w http.ResponseWriter, body string)) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-API-Key") != "k" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/api/publish"
}

func TestPostPublishesOverHTTPBesideTheCeiling(t *testing.T) {
	t.Parallel()
	again(t, 50*time.Millisecond, func(long time.Duration) bool { return postBesideTheCeiling(t, long) })
}

func postBesideTheCeiling(t *testing.T, long time.Duration) (enough bool) {
	var groups [2]atomic.Int64
	url := backendDoor(t, func(w http.ResponseWriter, body string) {
		for i := range groups {
			if strings.Contains(body, fmt.Sprintf(`-%d","data":{"text":"xxxxx"}}`, i)) {
				groups[i].Add(1)
			}
		}
		fmt.Fprint(w, `{"result":{"offset":1}}`)
	})
	status, out, errs, runs := benchRuns(t, 4, "post", "--url", url, "--key", "k", "-n", "3", "--groups", "2", "--size", "5", "--time", long.String(), "--rounds", "2")
	one, other := uint64(groups[0].Load()), uint64(groups[1].Load())
	nothing := func(r *report.Run) bool { return r.Post != nil && r.Post.Accepted == 0 } // which is a fault in itself
	if slices.ContainsFunc(runs, func(r *report.Run) bool { return r.Post == nil || len(r.Causes) > 0 || !r.Fine && !nothing(r) }) {
		t.Fatalf("got status %d, want four runs without a fault\n%s%s", status, out, errs)
	}
	if one == 0 || other == 0 || slices.ContainsFunc(runs, nothing) {
		return false
	}
	if status != exitFine {
		t.Fatalf("got status %d, want %d\n%s%s", status, exitFine, out, errs)
	}
	var accepted uint64
	for _, r := range runs {
		if !r.Fine || r.Post.PerSecond <= 0 || r.Post.Answer.Max <= 0 {
			t.Errorf("figures are missing: %+v %+v", r, r.Post)
		}
		if !r.IsCeiling() {
			accepted += r.Post.Accepted
		}
	}
	if !runs[1].IsCeiling() || !runs[2].IsCeiling() || runs[2].Round != 2 {
		t.Errorf("got %s and %s, want that each round begins with the other", runs[1].Server, runs[2].Server)
	}
	if one+other != accepted {
		t.Errorf("got %d and %d publishes for the two groups, want %d in all", one, other, accepted)
	}
	if !strings.Contains(out, "requests/s") || !strings.Contains(out, "ceiling http") {
		t.Errorf("got no table in\n%s", out)
	}
	return true
}

func TestPostSaysWhatIsWrongWithAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, string)
		key    string
		status int
		want   string
	}{
		"busy": {func(w http.ResponseWriter, body string) {
			if strings.Contains(body, `-0"`) {
				fmt.Fprint(w, `{"error":{"code":111,"message":"too many requests","temporary":true}}`)
			} else {
				fmt.Fprint(w, "{}")
			}
		}, "k", exitFine, "as the server was busy"},
		"no answer but busy": {func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusServiceUnavailable) }, "k", exitFaulty, "FAULTY"},
		"an error":           {func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"error":{"code":107}}`) }, "k", exitFaulty, `answer 200: {"error":{"code":107}}`},
		"another key":        {nil, "x", exitFaulty, "answer 401"},
		"an answer in parts": {func(w http.ResponseWriter, _ string) {
			fmt.Fprint(w, "{")
			w.(http.Flusher).Flush()
			fmt.Fprint(w, "}")
		}, "k", exitFaulty, "without Content-Length"},
		"an end": {func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }, "k", exitFaulty, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			again(t, 50*time.Millisecond, func(long time.Duration) bool {
				status, out, errs, runs := benchRuns(t, 1, "post", "--url", backendDoor(t, c.answer), "--key", c.key, "--groups", "2", "--time", long.String(), "--rounds", "1", "--no-ceiling")
				if runs[0].Post == nil {
					t.Fatalf("got status %d\n%s%s", status, out, errs)
				}
				if p := runs[0].Post; name == "busy" && (p.Refused == 0 || p.Accepted == 0) {
					if len(runs[0].Causes) > 0 || p.Accepted > 0 && status != c.status {
						t.Errorf("got status %d, faults %v, want no fault but that nothing was accepted\n%s%s", status, runs[0].Causes, out, errs)
					}
					return false
				}
				if status != c.status || !strings.Contains(out, c.want) {
					t.Errorf("got status %d, want %d, and %q in\n%s%s", status, c.status, c.want, out, errs)
				}
				return true
			})
		})
	}
}
