package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a server knows by a secret is told nowhere that an operator, a collector of logs or a tool for profiles reads.
func TestSecretsAreShownNowhere(t *testing.T) {
	t.Parallel()
	const typed, fromFile, fromConfig, later = "HIDDEN-typed", "HIDDEN-from-a-file", "HIDDEN-from-the-config-file", "HIDDEN-later"
	dir := runDir(t)
	file, config := filepath.Join(dir, "secrets"), filepath.Join(dir, "config.json")
	var shown []string
	look := func(what, text string) {
		t.Helper()
		shown = append(shown, what)
		if strings.Contains(text, "HIDDEN") {
			t.Errorf("%s: got %s, want no secret in it", what, text)
		}
	}
	for _, o := range []starting{
		{args: []string{"--token-secret", typed, "--token-secret", "@" + file}},
		{args: []string{"--config", config}},
	} {
		o.args = append(o.args, "--admin", "127.0.0.1:0", "--log-level", "debug")
		must(t, os.WriteFile(file, []byte(fromFile+"\n"), 0o600))
		must(t, os.WriteFile(config, []byte(`{"token-secret": "`+fromConfig+`"}`), 0o600))
		s := startWith(t, o)
		url := "http://" + s.status().Admin
		must(t, dial(t, s).join("g"))
		must(t, os.WriteFile(file, []byte(later+"\n"), 0o600))
		must(t, os.WriteFile(config, []byte(`{"token-secret": ["`+later+`"]}`), 0o600))
		reload := run("reload", "--run-dir", s.dir)
		if !strings.Contains(reload.stdout, "token-secret: ") {
			t.Errorf("reload: got %q, want that the secret has changed", reload.all())
		}
		look("reload", reload.all())
		for _, verb := range [][]string{{"status"}, {"status", "--json"}, {"connections"}, {"connections", "--json"}} {
			look(strings.Join(verb, " "), run(append(verb, "--run-dir", s.dir)...).all())
		}
		for _, path := range []string{"/", "/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1"} {
			code, body, err := ask(url+path, "")
			if err != nil || code != 200 {
				t.Errorf("%s: got %d and %v, want 200", path, code, err)
			}
			look(path, body)
		}
		must(t, os.WriteFile(config, []byte(`{"token-secret": ["`+later+`", 7]}`), 0o600))
		look("a reload that fails", run("reload", "--run-dir", s.dir).all())
		look("banner and log", s.out.String())
	}
	if len(shown) < 20 {
		t.Errorf("looked at %d texts, want all", len(shown))
	}
}
