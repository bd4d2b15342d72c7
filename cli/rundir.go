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

// runDir is the directory by which the other verbs find a server: it holds the pid file, which is also the lock,
// and the control socket.
type runDir struct {
	path string
	// ours is set when the operator did not name the directory. A default name can be guessed, and any user could create the
	// one in the shared temporary directory first, so it is checked that such a directory is ours.
	ours bool
}

func (d runDir) pidFile() string { return filepath.Join(d.path, "ringcast.pid") }
func (d runDir) socket() string  { return filepath.Join(d.path, "ringcast.sock") }

// drainFile is the pid file of a process that has given up the run dir and still drains its clients.
func (d runDir) drainFile(pid int) string {
	return filepath.Join(d.path, drainPrefix+strconv.Itoa(pid)+drainSuffix)
}

const drainPrefix, drainSuffix = "ringcast-", ".draining"

// flag is how to name this run dir to another verb: empty when it is the default.
func (d runDir) flag() string {
	if d.ours {
		return ""
	}
	return " --run-dir " + d.path
}

// runDir is the directory that was asked for, or the default. It is not created here: verbs that only read must not do so.
func (r *env) runDir(g *settings.Globals) (runDir, error) {
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

// tmpRunDir is the default if the session has no directory of its own.
func tmpRunDir() string {
	return filepath.Join(os.TempDir(), "ringcast-"+strconv.Itoa(os.Getuid()))
}

// make creates the directory, with no access for other users.
func (d runDir) make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return settings.Usagef("--run-dir %q cannot be created: %v; name another", d.path, err)
	}
	return d.check() // another user may have created it
}

// check refuses a directory that must not be used, or what is no directory. That it does not exist is no error.
func (d runDir) check() error {
	look := os.Stat
	if d.ours {
		look = os.Lstat // with Stat the target of a link would be checked, and the link could be changed afterwards
	}
	info, err := look(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return settings.Usagef("--run-dir %q cannot be inspected: %v; name another", d.path, err)
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
		return settings.Usagef("--run-dir %q (the default) can be written by other users (mode %04o); chmod it to 0700 or name another",
			d.path, mode)
	}
	return nil
}

// notRunning is the answer of the verbs that need a server.
func (d runDir) notRunning() error {
	if left := d.drainers(); len(left) > 0 {
		return fmt.Errorf("no server is running with run dir %s; what is left there is %s", d.path, left[0])
	}
	return fmt.Errorf("no server is running with run dir %s; to find a server that was started with another --run-dir, "+
		"name the same one", d.path)
}
