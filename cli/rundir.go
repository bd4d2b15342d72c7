package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"ringcast/cli/settings"
)

// runDir is the directory by which a server is known to the other verbs: it holds the pid file, which is also the lock,
// and the control socket.
type runDir struct {
	path string
	// ours is set when nobody named the directory. A default name can be guessed, and the one in the shared temporary
	// directory can be made by anybody first, so such a directory has to prove that it is ours.
	ours bool
}

func (d runDir) pidFile() string { return filepath.Join(d.path, "ringcast.pid") }
func (d runDir) socket() string  { return filepath.Join(d.path, "ringcast.sock") }

// flag is how to name this run dir to another verb: empty when it is the default.
func (d runDir) flag() string {
	if d.ours {
		return ""
	}
	return " --run-dir " + d.path
}

// runDir is the directory asked for, or the default one. It is not made yet: verbs that only look must not make it.
func (r *rim) runDir(g *settings.Globals) (runDir, error) {
	dir := runDir{path: g.RunDir}
	if dir.path == "" {
		dir.ours = true
		dir.path = tmpRunDir()
		if parent := os.Getenv("XDG_RUNTIME_DIR"); parent != "" {
			dir.path = filepath.Join(parent, "ringcast")
		}
	}
	dir.path = r.abs(dir.path)
	if n := len(dir.socket()); n > settings.SocketPathMax {
		return dir, settings.Usagef("--run-dir %q%s is too long by %d bytes for the control socket in it; name a shorter one",
			dir.path, g.Origin("run-dir"), n-settings.SocketPathMax)
	}
	return dir, dir.check()
}

// tmpRunDir is the default when the session has no directory of its own.
func tmpRunDir() string {
	return filepath.Join(os.TempDir(), "ringcast-"+strconv.Itoa(os.Getuid()))
}

// make creates the directory, closed to others.
func (d runDir) make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return settings.Usagef("--run-dir %q cannot be made: %v; name one that can", d.path, err)
	}
	return d.check() // somebody may have been faster
}

// check refuses what stands in the directory's place and must not be used. That it does not exist is no fault.
func (d runDir) check() error {
	look := os.Stat
	if d.ours {
		look = os.Lstat // a link would have its target checked, and be pointed elsewhere afterwards
	}
	info, err := look(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return settings.Usagef("--run-dir %q cannot be looked at: %v; name another", d.path, err)
	}
	if !info.IsDir() {
		return settings.Usagef("--run-dir %q is not a directory; name one", d.path)
	}
	if !d.ours {
		return nil
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		return settings.Usagef("--run-dir %q (the default) belongs to user %d, not to you; name another", d.path, owner.Uid)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return settings.Usagef("--run-dir %q (the default) can be written by others (mode %04o); chmod it to 0700 or name another",
			d.path, mode)
	}
	return nil
}

// notRunning is the answer of the verbs that need a server.
func (d runDir) notRunning() error {
	return fmt.Errorf("no server is running with run dir %s; a server started with another --run-dir is found by naming "+
		"the same one", d.path)
}
