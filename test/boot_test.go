package test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// comeBack has n clients that want to be at an address: they connect, say half of a request, wait until they are closed, and come
// again soon. It returns when all have tried; the function that it returns ends them.
func comeBack(t *testing.T, n int, address string) (leave func()) {
	t.Helper()
	over := make(chan struct{})
	var all sync.WaitGroup
	var tried atomic.Int64
	for i := range n {
		all.Go(func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(elsewhere(i))}, Timeout: patience}
			for first := true; ; first = false {
				c, err := d.Dial("tcp", address)
				if first {
					tried.Add(1)
				}
				if err == nil {
					gone := make(chan struct{})
					go func() {
						select {
						case <-over:
						case <-gone:
						}
						c.Close()
					}()
					_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
					_, _ = io.Copy(io.Discard, c)
					close(gone)
				}
				select {
				case <-over:
					return
				case <-time.After(time.Duration(rand.Int64N(int64(20 * time.Millisecond)))):
				}
			}
		})
	}
	eventually(t, "all clients are there", func() error {
		if got := tried.Load(); got < int64(n) {
			return fmt.Errorf("got %d of %d", got, n)
		}
		return nil
	})
	var once sync.Once
	leave = func() {
		once.Do(func() { close(over) })
		all.Wait()
	}
	t.Cleanup(leave)
	return leave
}

// A server that starts while thousands want to come back has the room that it would have in silence.
func TestFaultACrowdThatComesBackWhileTheServerStartsTakesNoRoom(t *testing.T) {
	fault(t)
	for _, c := range []struct{ descriptors, clients int }{
		{size(300, 1024), size(600, 3_000)},
		{size(160, 400), size(400, 2_000)},
	} {
		var files syscall.Rlimit
		must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
		if files.Cur < uint64(c.clients+spareFiles) {
			t.Skipf("%d connections take more than the %d files that may be open here (ulimit -n)", c.clients, files.Cur)
		}
		silent := startWith(t, starting{descriptors: c.descriptors})
		want := silent.status().ClientsMax
		if full := size(0, 945); full > 0 && c.descriptors == 1024 && want != full {
			t.Errorf("in silence, with ulimit -n %d: got clients_max %d, want %d", c.descriptors, want, full)
		}
		for round := range size(1, 3) {
			address := freeAddr(t)
			leave := comeBack(t, c.clients, address)
			s := launch(t, starting{descriptors: c.descriptors, args: []string{"--listen", address}})
			s.eventually("a server answers status beside a crowd", func() error {
				st, err := readStatus(s.dir)
				if err == nil && st.ClientsMax != want {
					t.Errorf("round %d, ulimit -n %d, %d clients: got clients_max %d, want %d", round, c.descriptors, c.clients, st.ClientsMax, want)
				}
				return err
			})
			leave()
			s.addr = address
			var in *client
			s.eventually("who comes after the crowd is served", func() (err error) {
				in, err = open(s.addr, dialing{})
				return err
			})
			must(t, in.join("g"))
			in.hangUp()
			s.signal(syscall.SIGTERM)
			equal(t, "exit status", s.exit(), 0)
		}
	}
}
