package loop

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a boot takes is estimated before anything is stopped for it, so the estimate must be right.
func TestABootOpensAsManyDescriptorsAsIsSaidBefore(t *testing.T) {
	for _, cfg := range []Config{
		{Loops: 1, Listen: []string{"127.0.0.1:0"}},
		{Loops: 5, Listen: []string{"127.0.0.1:0", "unix:" + filepath.Join(socketDir(t), "s"), "127.0.0.2:0"}},
	} {
		want := bootDescriptors(cfg.Loops, len(cfg.Listen)) + len(cfg.Listen)
		got := bootCounted(t, cfg)
		for try := 1; try < 10 && got != want; try++ { // what earlier tests have left may have been closed meanwhile
			got = bootCounted(t, cfg)
		}
		if got != want {
			t.Errorf("%d loops on %v: got %d more descriptors, want %d", cfg.Loops, cfg.Listen, got, want)
		}
	}
}

// bootCounted boots a server and ends it, and says how many descriptors that took.
func bootCounted(t *testing.T, cfg Config) int {
	t.Helper()
	before, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Boot(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(within(t), nil)
	after, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	return len(after) - len(before)
}

func TestWhatKeepsAServerFromListeningIsFoundBeforeItBoots(t *testing.T) {
	dir := socketDir(t)
	plain, dead, live := filepath.Join(dir, "plain"), filepath.Join(dir, "dead"), filepath.Join(dir, "live")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dead, live} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if path == dead {
			l.Close()
		} else {
			defer l.Close()
		}
	}
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	taken := tcp.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	theirs := []string{"unix:" + live, taken}
	for _, c := range []struct {
		listen string
		theirs []string
		want   error // nil: it can
	}{
		{taken, []string{}, syscall.EADDRINUSE},
		{taken, theirs, nil},
		{taken, nil, nil},
		{"0.0.0.0:" + port, theirs, nil},
		{taken, []string{"0.0.0.0:" + port}, nil},
		{taken, []string{"[::]:" + port}, nil},
		{taken, []string{"127.0.0.2:" + port, "127.0.0.1:1"}, syscall.EADDRINUSE},
		{"203.0.113.5:" + port, theirs, syscall.EADDRNOTAVAIL},
		{"203.0.113.5:" + port, nil, syscall.EADDRNOTAVAIL},
		{"unix:" + live, []string{}, syscall.EADDRINUSE},
		{"unix:" + live, theirs, nil},
		{"unix:" + live, nil, nil},
		{"unix:" + dead, theirs, nil},
		{"unix:" + filepath.Join(dir, "new"), theirs, nil},
		{"unix:" + filepath.Join(dir, "no/such"), theirs, syscall.ENOENT},
		{"unix:" + filepath.Join(plain, "s"), theirs, syscall.ENOTDIR},
	} {
		err := CheckBoot(Config{Listen: []string{c.listen}, Loops: 1}, c.theirs, 0)
		if at := new(ListenError); !errors.Is(err, c.want) || c.want != nil && (!errors.As(err, &at) || at.Address != c.listen) {
			t.Errorf("%s beside a server on %q: got %v, want %v", c.listen, c.theirs, err, c.want)
		}
	}
	for listen, want := range map[string]string{
		plain: "is no socket", live + "?group=nosuchgroup": "nosuchgroup", dead + "?user=nosuchuser": "nosuchuser",
	} {
		if err := CheckBoot(Config{Listen: []string{"unix:" + listen}, Loops: 1}, nil, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", listen, err, want)
		}
	}
	if err := CheckBoot(Config{Listen: []string{taken, "0.0.0.0:" + port}, Loops: 1}, theirs, 0); err == nil || !strings.Contains(err.Error(), "leave one of them out") {
		t.Errorf("one address within the other: got %v, want that", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("files afterwards: got %v, %v, want the three that were there", left, err)
	}
}

func TestTooFewDescriptorsAreFoundBeforeAServerBoots(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur > 1<<30 {
		limit.Cur = 1 << 30
	}
	if err := CheckBoot(Config{Listen: []string{"127.0.0.1:0"}, Loops: 8}, nil, int(limit.Cur)); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("got %v, want that the limit is too low", err)
	}
}

func TestDescriptorsThatTheCallerKeepsAreNoClients(t *testing.T) {
	room := func(reserve int) int {
		t.Helper()
		s, err := Start(Config{Loops: 1, Reserve: reserve})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Stop(context.Background(), nil) }()
		return s.Hub().Snapshot().ClientsMax
	}
	const kept = 100
	if all, less := room(0), room(kept); all-less < kept-20 || all-less > kept+20 { // other tests open some meanwhile
		t.Errorf("room for clients: got %d, and %d with %d descriptors kept, want so many fewer", all, less, kept)
	}
	if err := CheckBoot(Config{Loops: 1, Reserve: 1 << 30}, nil, 0); err == nil {
		t.Error("more kept than there are: got no error, want one before anything is stopped")
	}
}
