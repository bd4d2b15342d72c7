package cli

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// defaultDir returns the default run dir.
func defaultDir(t *testing.T) (runDir, error) {
	t.Helper()
	dir, _, err := parseIn(t)
	return dir, err
}

func TestDefaultRunDirIsTheSessionsOrTheUsers(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	if dir, err := defaultDir(t); err != nil || dir.path != "/run/user/7/ringcast" {
		t.Errorf("with XDG_RUNTIME_DIR: got %q, %v, want /run/user/7/ringcast", dir.path, err)
	}
	tmp := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", tmp)
	want := filepath.Join(tmp, "ringcast-"+strconv.Itoa(os.Getuid()))
	if dir, err := defaultDir(t); err != nil || dir.path != want {
		t.Errorf("without: got %q, %v, want %q", dir.path, err, want)
	}
}

func TestRunDirIsMadeForItsOwnerOnly(t *testing.T) {
	dir := runDir{path: filepath.Join(t.TempDir(), "a", "b")}
	if err := dir.make(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir.path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, %v, want 0700", info.Mode().Perm(), err)
	}
}

func TestVerbsThatLookDoNotMakeTheRunDir(t *testing.T) {
	path := filepath.Join(shortDir(t).path, "x")
	for _, verb := range []string{"status", "connections", "stop"} {
		if status, _, stderr := do(t, verb, "--run-dir", path); status != statusFailed {
			t.Errorf("%s: got exit status %d (%s), want %d", verb, status, stderr, statusFailed)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("stat %s: got %v, want that it does not exist", path, err)
	}
}

func TestDefaultRunDirThatOthersCouldHavePlantedIsRefused(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("TMPDIR", tmp)
	path := tmpRunDir()

	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := defaultDir(t); err != nil {
		t.Errorf("own directory: got %v, want no error", err)
	}
	os.Chmod(path, 0o720)
	if _, err := defaultDir(t); err == nil || !strings.Contains(err.Error(), "can be written by other users (mode 0720); chmod it to 0700") {
		t.Errorf("group-writable: got %v, want it refused with the mend", err)
	}
	if status, _, _ := do(t, "stop"); status != statusUsage {
		t.Errorf("stop with it: got exit status %d, want %d", status, statusUsage)
	}
	os.Chmod(path, 0o700)
	if os.Getuid() == 0 {
		os.Chown(path, 12345, -1)
		if _, err := defaultDir(t); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
			t.Errorf("another user's: got %v, want it refused", err)
		}
	}
	os.Remove(path)
	os.Symlink(t.TempDir(), path)
	if _, err := defaultDir(t); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a link: got %v, want it refused", err)
	}
	// A directory that the operator has named is not checked.
	named := t.TempDir()
	os.Chmod(named, 0o777)
	if err := (runDir{path: named}).check(); err != nil {
		t.Errorf("a directory that was named: got %v, want no error", err)
	}
}
