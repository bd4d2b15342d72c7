package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lock is the proof that one server has a run dir: an flock on the pid file, held as long as the server lives.
//
// The kernel drops the lock however the process ends, so a pid left in the file by a crash or kill -9 is known to be
// stale, even if another program has that pid now. The number in the file only says whom to signal, and only while
// the lock is held.
//
// A server that has told its clients that it stops needs the run dir no more, but may live on for as long as they take for
// their last bytes. It gives its file, with the lock on it, another name (see drain): in one step the run dir is free for the
// next server, and those that still drain can be found.
type lock struct {
	dir  runDir
	file *os.File
}

// lockPatience is how long a start tries before it concludes that the lock is taken: a stop that checks whether the lock is
// held takes it for a moment.
const lockPatience = 300 * time.Millisecond

// pause is the time between two checks of something that is about to change. It is part of the time for which a restart leaves
// the port to nobody.
const pause = 5 * time.Millisecond

// errLocked says that another process holds the lock.
var errLocked = errors.New("locked")

// takeLock locks the run dir for this process and writes its pid. When another server has it, the error says which and
// how to stop it.
func takeLock(dir runDir, log *slog.Logger) (*lock, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		file, err := flock(dir.pidFile(), os.O_RDWR|os.O_CREATE, syscall.LOCK_EX)
		switch {
		case err == nil:
			l := &lock{dir: dir, file: file}
			dir.sweep()
			if err := l.write(log); err != nil {
				l.release()
				return nil, err
			}
			return l, nil
		case !errors.Is(err, errLocked):
			return nil, fmt.Errorf("pid file %s: %w", dir.pidFile(), err)
		case time.Now().After(deadline):
			return nil, fmt.Errorf("a server is already running with run dir %s (pid %s); stop it with: ringcast stop%s",
				dir.path, pidText(dir), dir.flag())
		}
		time.Sleep(pause)
	}
}

// write puts our pid into the file, and logs it if that of a dead server was there.
func (l *lock) write(log *slog.Logger) error {
	old, err := io.ReadAll(io.LimitReader(l.file, 64))
	if err != nil {
		return err
	}
	if stale := strings.TrimSpace(string(old)); stale != "" {
		log.Warn("replaced the pid file of a server that ended without cleaning up", "pid", stale, "file", l.file.Name())
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// drain gives the run dir to the next server, while this process goes on until a time.
func (l *lock) drain(until time.Time) {
	if !named(l.file, l.dir.pidFile()) {
		return // somebody has removed it, and another server may have the name
	}
	_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d\n%s\n", os.Getpid(), until.UTC().Format(time.RFC3339)), 0) // for people only
	if os.Rename(l.dir.pidFile(), l.dir.drainFile(os.Getpid())) != nil {
		os.Remove(l.dir.pidFile())
	}
}

// release removes the pid file, under either name, and then releases the lock, in this order: a process that locks the file in
// between sees that it has lost its name and tries again.
func (l *lock) release() {
	for _, path := range []string{l.dir.pidFile(), l.dir.drainFile(os.Getpid())} {
		if named(l.file, path) {
			os.Remove(path)
		}
	}
	l.file.Close()
}

// named says whether an open file has this name.
func named(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	found, err := os.Stat(path)
	return err == nil && os.SameFile(held, found)
}

// drainer is a process that has given up a run dir and still drains its clients.
type drainer struct {
	pid   int       // in its own pid namespace
	until time.Time // its clients have time until then
}

// String says which process it is, and what it does, behind a verb.
func (d drainer) String() string {
	return fmt.Sprintf("pid %d, which was stopped before: its clients have until %s to take their last bytes", d.pid, d.until.Local().Format(time.TimeOnly))
}

// drainers are those of a run dir.
func (d runDir) drainers() (all []drainer) {
	d.eachDrainFile(func(path string) {
		file, err := flock(path, os.O_RDONLY, syscall.LOCK_SH)
		if err == nil {
			file.Close() // it was killed
			return
		}
		text, readErr := os.ReadFile(path)
		first, second, _ := strings.Cut(string(text), "\n")
		pid, pidErr := strconv.Atoi(first)
		until, timeErr := time.Parse(time.RFC3339, strings.TrimSpace(second))
		if errors.Is(err, errLocked) && errors.Join(readErr, pidErr, timeErr) == nil {
			all = append(all, drainer{pid, until})
		}
	})
	return all
}

// sweep removes what killed drainers have left.
func (d runDir) sweep() {
	d.eachDrainFile(func(path string) {
		if file, err := flock(path, os.O_RDONLY, syscall.LOCK_EX); err == nil {
			os.Remove(path)
			file.Close()
		}
	})
}

func (d runDir) eachDrainFile(visit func(path string)) {
	entries, _ := os.ReadDir(d.path)
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, drainPrefix) && strings.HasSuffix(name, drainSuffix) {
			visit(filepath.Join(d.path, name))
		}
	}
}

// flock opens and locks the file without waiting. Because release removes the file, the lock only counts if the file
// still has its name afterwards.
func flock(path string, flags, how int) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, flags, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); err != nil {
			file.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, err
		}
		if named(file, path) {
			return file, nil
		}
		file.Close()
	}
}

// alive says whether a server holds the run dir's lock.
func alive(dir runDir) (bool, error) {
	file, err := flock(dir.pidFile(), os.O_RDONLY, syscall.LOCK_SH)
	switch {
	case err == nil:
		file.Close()
		return false, nil
	case errors.Is(err, errLocked):
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	default:
		return false, fmt.Errorf("pid file %s: %w", dir.pidFile(), err)
	}
}

// readPID reads the number in the pid file; it means nothing unless the lock is held.
func readPID(dir runDir) (int, error) {
	text, err := os.ReadFile(dir.pidFile())
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("pid file %s holds no pid", dir.pidFile())
	}
	return pid, nil
}

func pidText(dir runDir) string {
	pid, err := readPID(dir)
	if err != nil {
		return "not known yet"
	}
	return strconv.Itoa(pid)
}
