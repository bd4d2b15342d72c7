package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"
)

// What docs/cluster.md has for copying, done; and what it says of other things, compared with them.

// shellBlocks are the blocks of shell commands under a heading of docs/cluster.md.
func shellBlocks(t *testing.T, heading string) []string {
	t.Helper()
	_, text, found := strings.Cut(document(t, "docs/cluster.md"), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/cluster.md: got no heading %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// The three commands are done as they stand there, but for the address: another loopback one, so that their ports are free.
func TestThreeCommandsOfTheClusterDocumentMakeACluster(t *testing.T) {
	t.Parallel()
	commands := strings.Split(strings.TrimSpace(shellBlocks(t, "Three nodes on one machine")[0]), "\n")
	if len(commands) != 3 {
		t.Fatalf("commands: got %d, want three", len(commands))
	}
	host := loopbackHost()
	dir := runDir(t)
	must(t, os.Symlink(absolute(t, program), filepath.Join(dir, "ringcast")))
	t.Cleanup(func() {
		for i := range commands {
			run("stop", "--run-dir", filepath.Join(dir, fmt.Sprint("demo/run", i+1)))
		}
	})
	// A node is ready when enough others are there: so all at once, as in three terminals. With -d a command waits for that a short time alone.
	ended := make(chan error, len(commands))
	for _, command := range commands {
		sh := exec.Command("sh", "-c", strings.ReplaceAll(command, "127.0.0.1", host))
		sh.Dir, sh.Env = dir, slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "RINGCAST_") })
		go func() {
			out, err := sh.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%s: %w: %s", command, err, out)
			}
			ended <- err
		}()
	}
	for range commands {
		must(t, <-ended)
	}
	for i := range commands {
		eventually(t, fmt.Sprint("node ", i+1, " is ready"), func() error {
			code, why, err := ask(fmt.Sprintf("http://%s:%d235/readyz", host, i+1), "")
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("got %d %s", code, why)
			}
			return err
		})
	}
	pages := map[string]*client{}
	for _, port := range []string{"1234", "3234"} {
		c, err := open(host+":"+port, dialing{})
		must(t, err)
		t.Cleanup(c.hangUp)
		must(t, c.join("123"))
		pages[port] = c
	}
	for _, from := range []string{"1234", "3234", "1234"} {
		must(t, pages[from].text(sendCommand("123", "from "+from)))
		for _, page := range pages {
			page.expect(t, "from "+from)
		}
	}
	status := run("status", "--run-dir", filepath.Join(dir, "demo/run1"))
	for _, name := range []string{"n1", "n2", "n3"} {
		if !strings.Contains(status.stdout, name) {
			t.Errorf("status: got no %s in %s", name, status.all())
		}
	}
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	abs, err := filepath.Abs(name)
	must(t, err)
	return abs
}

func TestEachRowOfWhatAClusterSurvivesNamesATestThatExists(t *testing.T) {
	still(t)
	_, table, _ := strings.Cut(document(t, "docs/cluster.md"), "\n## What survives what\n")
	table, _, _ = strings.Cut(table, "\n## ")
	have, named := testNames(t), map[string]bool{}
	for _, f := range clusterFaults {
		have[f.name] = true
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 5 || strings.HasPrefix(cells[0], "---") || strings.Contains(cells[0], "what happens") {
			continue
		}
		name := strings.Trim(strings.TrimSpace(cells[4]), "`")
		named[name] = true
		if !have[name] {
			t.Errorf("docs/cluster.md, %q: got no test of the name %q", strings.TrimSpace(cells[0]), name)
		}
	}
	if len(named) < 10 {
		t.Errorf("rows with a test: got %d, want all", len(named))
	}
}

// A Compose file and what is for Kubernetes are read as YAML, and name nothing that start does not know.
func TestFilesForContainersAreGoodAndNameOptionsThatExist(t *testing.T) {
	still(t)
	help := run("start", "--help").stdout
	for _, name := range []string{"docs/compose.yaml", "docs/statefulset.yaml"} {
		text := document(t, name)
		docs := 0
		for in := yaml.NewDecoder(bytes.NewReader([]byte(text))); ; docs++ {
			var any map[string]any
			err := in.Decode(&any)
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			if len(any) == 0 {
				t.Errorf("%s, part %d: got nothing in it", name, docs+1)
			}
		}
		variables := regexp.MustCompile(`RINGCAST_[A-Z_]+`).FindAllString(text, -1)
		if docs == 0 || len(variables) < 8 {
			t.Errorf("%s: got %d parts and %d variables, want a cluster's", name, docs, len(variables))
		}
		for _, variable := range variables {
			if !strings.Contains(help, "($"+variable+")") && !strings.Contains(help, "$"+variable) {
				t.Errorf("%s has %s, which start --help does not know", name, variable)
			}
		}
		for _, path := range regexp.MustCompile(`/(?:ready|health)z`).FindAllString(text, -1) {
			if path != "/readyz" && path != "/healthz" {
				t.Errorf("%s asks for %s", name, path)
			}
		}
	}
}

// Settings of three machines, as the document has them, are good JSON and name settings that exist.
func TestTheClusterDocumentsConfigFileIsGood(t *testing.T) {
	still(t)
	m := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(document(t, "docs/cluster.md"))
	if m == nil {
		t.Fatal("docs/cluster.md: got no config file")
	}
	host, dir := loopbackHost(), runDir(t)
	token := filepath.Join(dir, "token")
	must(t, os.WriteFile(token, []byte(strings.Repeat("t", 64)), 0o600))
	text := m[1]
	for _, r := range [][2]string{{"0.0.0.0:1234", host + ":1234"}, {"10.0.0.", host[:strings.LastIndexByte(host, '.')+1]}, {"/etc/ringcast/cluster-token", token}, {"/var/lib/ringcast", filepath.Join(dir, "store")}} {
		if !strings.Contains(text, r[0]) {
			t.Errorf("the config file has no %s", r[0])
		}
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	config := filepath.Join(dir, "ringcast.json")
	must(t, os.WriteFile(config, []byte(text), 0o600))
	s := launch(t, starting{args: []string{"--config", config, "--listen", host + ":1234"}, dir: filepath.Join(dir, "run"), env: []string{"RINGCAST_ADMIN=" + host + ":1235"}})
	s.eventually("the node waits for the others", func() error {
		code, why, err := ask("http://"+host+":1235/readyz", "")
		if err != nil || code != http.StatusServiceUnavailable {
			return fmt.Errorf("got %d %s, %v", code, why, err)
		}
		return nil
	})
}
