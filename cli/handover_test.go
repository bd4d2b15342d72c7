package cli

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

func TestAHandoverGivesUpTheLockLastAndOnce(t *testing.T) {
	var o handover
	var given []string
	for _, name := range []string{"lock", "admin", "control"} {
		o.has(func() { given = append(given, name) })
	}
	o.giveUp()
	o.giveUp()
	if want := []string{"control", "admin", "lock"}; !slices.Equal(given, want) {
		t.Errorf("given up: got %v, want %v", given, want)
	}
}

func TestADrainingProcessLeavesTheRunDirToTheNext(t *testing.T) {
	dir := shortDir(t)
	first, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	first.drain(until)
	if held, err := alive(dir); err != nil || held {
		t.Errorf("alive: got %v, %v, want that nobody holds the run dir", held, err)
	}
	left := dir.drainers()
	if len(left) != 1 || left[0].pid != os.Getpid() || left[0].until.Sub(until).Abs() > time.Second {
		t.Errorf("drainers: got %v, want this process until %v", left, until)
	}
	has(t, "no server", dir.notRunning().Error(), "no server is running", left[0].String())
	var log buffer
	next, err := takeLock(dir, logTo(&log))
	if err != nil {
		t.Fatal(err)
	}
	if got := log.String(); got != "" {
		t.Errorf("log of the next: got %q, want nothing: the other has cleaned up", got)
	}
	first.release()
	if held, err := alive(dir); err != nil || !held {
		t.Errorf("after the end of the first: got %v, %v, want that the next one holds the run dir", held, err)
	}
	if left := dir.drainers(); len(left) != 0 {
		t.Errorf("drainers after its end: got %v, want none", left)
	}
	next.release()
}

func TestWhatAKilledDrainerLeavesIsSweptByTheNextServer(t *testing.T) {
	dir := shortDir(t)
	dead := dir.drainFile(4711)
	if err := os.WriteFile(dead, []byte("4711\n2026-01-02T03:04:05Z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if left := dir.drainers(); len(left) != 0 {
		t.Errorf("drainers: got %v, want none: nobody holds the file", left)
	}
	l, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its file after the next start: got %v, want none", err)
	}
}

// Somebody removes the pid file by hand, and a second server starts in the run dir: what is there is the second one's.
func TestAServerRemovesNothingThatIsAnothers(t *testing.T) {
	dir := shortDir(t)
	first, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *control {
		c, err := openControl(dir, func() Status { return Status{} }, newFakeServer(), nil, silent)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := open()
	if err := os.Remove(dir.pidFile()); err != nil {
		t.Fatal(err)
	}
	second, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	now := open()
	old.close()
	first.drain(time.Now())
	first.release()
	if held, err := alive(dir); err != nil || !held {
		t.Errorf("lock of the second server: got %v, %v, want it held", held, err)
	}
	conn, err := net.Dial("unix", dir.socket())
	if err != nil {
		t.Errorf("control socket of the second server: %v", err)
	} else {
		conn.Close()
	}
	now.close()
	second.release()
	left(t, dir)
}

func TestWhatOfAnAddressCanOnlyBeOneServers(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:1234": "1234", "[::]:1234": "1234", ":1234": "1234", "unix:/run/x.sock": "/run/x.sock", "unix:///run/x.sock": "/run/x.sock", "": "",
	} {
		if got := place(address); got != want {
			t.Errorf("place of %q: got %q, want %q", address, got, want)
		}
	}
}
