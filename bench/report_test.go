package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// reporting runs the verb, which needs no server.
func reporting(args ...string) (status int, out, errs string) {
	var stdout, stderr bytes.Buffer
	status = run(context.Background(), append([]string{"report"}, args...), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

var comparison = filepath.Join("report", "testdata", "comparison.json")

func TestReportPrintsWhatAFileHolds(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{"text": "fan-out 10,000 × 1\nserver ", "markdown": "#### fan-out 10,000 × 1", "csv": "server,load,round,",
		"json": `"server": "ringcast 8 loops"`} {
		status, out, errs := reporting("--format", format, comparison)
		if status != exitFine || !strings.Contains(out, want) {
			t.Errorf("%s: got status %d without %q\n%.500s%s", format, status, want, out, errs)
		}
	}
	status, out, errs := reporting("--against", comparison, comparison)
	if status != exitFine || !strings.Contains(out, "no difference beyond noise") || strings.Contains(out, "faster\n") {
		t.Errorf("against itself: got status %d\n%s%s", status, out, errs)
	}
}

func TestReportReadsWhatFanoutWrote(t *testing.T) {
	t.Parallel()
	unraced(t)
	name := filepath.Join(t.TempDir(), "r.json")
	var stdout, stderr bytes.Buffer
	if status := run(context.Background(), []string{"fanout", "--url", (&groupServer{}).serve(t), "--members", "20", "--time", "300ms", patient, "--json", name},
		&stdout, &stderr); status != exitFine {
		t.Fatalf("got status %d\n%s%s", status, &stdout, &stderr)
	}
	dir := filepath.Join(t.TempDir(), "pictures", "new")
	status, out, errs := reporting(name, "--pictures", dir)
	if status != exitFine || !strings.Contains(out, "fanout, 20 members") || !strings.Contains(out, "deliveries/s") {
		t.Errorf("got status %d\n%s%s", status, out, errs)
	}
	for _, picture := range []string{"deliveries.svg", "deliveries.png"} {
		if info, err := os.Stat(filepath.Join(dir, picture)); err != nil || info.Size() < 1000 {
			t.Errorf("%s: got %v, %v", picture, info, err)
		}
	}
}

func TestReportSaysWhatIsWrongWithAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	whole, err := os.ReadFile(comparison)
	if err != nil {
		t.Fatal(err)
	}
	truncated, foreign := write("truncated", whole[:len(whole)/2]), write("foreign", []byte(`{"a":1}`))
	elsewhere := write("elsewhere", bytes.Replace(whole, []byte("Imagined CPU 3000"), []byte("Imagined CPU 4000"), 1))
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"none":                       {nil, "expected"},
		"missing":                    {[]string{filepath.Join(dir, "missing")}, "no such file"},
		"truncated":                  {[]string{truncated}, "is no result file"},
		"foreign":                    {[]string{foreign}, "has format 0"},
		"a bad one after a good one": {[]string{comparison, foreign}, "has format 0"},
		"a bad one to compare with":  {[]string{comparison, "--against", truncated}, "is no result file"},
		"pictures of two machines":   {[]string{comparison, elsewhere, "--pictures", filepath.Join(dir, "p")}, "one machine"},
		"pictures into a file":       {[]string{comparison, "--pictures", foreign}, "--pictures"},
		"a comparison as CSV":        {[]string{comparison, "--against", comparison, "--format", "csv"}, "--format"},
	} {
		status, out, errs := reporting(c.args...)
		if status != exitUnable || !strings.Contains(errs, c.want) || out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: got status %d, %q and %q, want %d and a sentence with %q", name, status, out, errs, exitUnable, c.want)
		}
	}
}
