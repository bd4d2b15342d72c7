package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

var (
	curlAndAnswer = regexp.MustCompile("(?s)```sh\n(curl [^\n]*)\n```\n\n```json\n(.*?)\n```")
	keyOfTheDoc   = regexp.MustCompile(`--api-key ([0-9a-f]{32})`)
	uuid          = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// Every line of curl in docs/api.md is run as it stands there, in the order of the page, and answered as the page says.
func TestTheLinesOfTheAPIDocumentAreAnsweredAsItSays(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("no curl in the PATH: its lines cannot be tried")
	}
	page := document(t, "docs/api.md")
	key := keyOfTheDoc.FindStringSubmatch(page)[1]
	file := filepath.Join(t.TempDir(), "ringcast.json")
	must(t, os.WriteFile(file, []byte(`{"groups": [{"match": "chat:*", "history": 100, "presence": true}]}`), 0o600))
	s := start(t, "--config", file, "--api-key", key, "--token-secret", tokenSecret)
	member(t, s, "123")
	member(t, s, "123")
	ann, _ := userPage(t, s, "ann")
	must(t, ann.text(`{"id":2,"subscribe":{"channel":"chat:1"}}`))
	if text, err := ann.next(); err != nil || !strings.Contains(text, `"subscribe":{`) {
		t.Fatalf("subscribe: got %s, %v", text, err)
	}

	all := curlAndAnswer.FindAllStringSubmatch(page, -1)
	if lines := regexp.MustCompile(`(?m)^curl `).FindAllString(page, -1); len(lines) != len(all) || len(all) < 15 {
		t.Fatalf("docs/api.md: got %d lines of curl, %d with an answer behind them", len(lines), len(all))
	}
	called := map[string]bool{}
	for _, m := range all {
		line := strings.ReplaceAll(m[1], "127.0.0.1:1234", s.addr)
		out, err := exec.Command("sh", "-c", strings.Replace(line, "curl", "curl -sS", 1)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
			continue
		}
		var got, want any
		must(t, json.Unmarshal([]byte(m[2]), &want))
		if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(likeEveryServers(got), likeEveryServers(want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", line, out, m[2])
		}
		called[line[strings.LastIndex(line, "/api")+len("/api"):]] = true
	}
	for _, method := range []string{"", "/publish", "/broadcast", "/presence", "/presence_stats", "/history", "/history_remove", "/channels", "/info",
		"/subscribe", "/unsubscribe", "/disconnect", "/refresh", "/revoke", "/batch"} {
		if !called[method] {
			t.Errorf("docs/api.md has no line for /api%s", method)
		}
	}
}

// likeEveryServers is a value of JSON in which what is another one on each server is the same.
func likeEveryServers(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = likeEveryServers(v[i])
		}
	case map[string]any:
		for name, one := range v {
			switch name {
			case "epoch", "uid", "name", "version", "client", "uptime":
				v[name] = "some"
				continue
			case "nodes": // clients may still be on their way out
				delete(one.([]any)[0].(map[string]any), "num_clients")
				delete(one.([]any)[0].(map[string]any), "num_users")
				delete(one.([]any)[0].(map[string]any), "num_subs")
				delete(one.([]any)[0].(map[string]any), "num_channels")
			}
			if v[name] = likeEveryServers(one); uuid.MatchString(name) {
				v["a client"] = v[name]
				delete(v, name)
			}
		}
	}
	return value
}
