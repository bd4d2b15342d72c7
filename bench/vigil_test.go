package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The bench and its helpers are stopped for longer than their patience, while a message is on its way to the members: it is not lost if it has
// come meanwhile, nor if the server was stopped as well, as when the machine stalls.
func TestABenchThatWasHeldUpDoesNotBlameTheServer(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"a window":              {"--window", "1", "--messages", "8"},
		"the drain":             {"--rate", "200", "--messages", "4"},
		"the drain of a helper": {"--rate", "200", "--messages", "4", "--processes", "2"},
	} {
		for _, stalls := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the server too %v", name, stalls), func(t *testing.T) {
				t.Parallel()
				reached, held := make(chan struct{}), make(chan struct{})
				hold, goOn := sync.OnceFunc(func() { close(reached); <-held }), sync.OnceFunc(func() { close(held) })
				s := &groupServer{spoil: func(m *groupMember, text string) []string {
					if m.place == 5 && m.heard == 3 { // with helpers it is one of theirs
						hold()
					}
					return []string{text}
				}}
				program, err := self()
				if err != nil {
					t.Fatal(err)
				}
				var said bytes.Buffer
				cmd := exec.Command(program, append([]string{"fanout", "--url", s.serve(t), "--members", "6", "--time", "1m", "--no-ceiling"}, args...)...)
				cmd.Stdout, cmd.Stderr = &said, &said
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				t.Cleanup(func() { cmd.Process.Kill(); goOn() }) // an error means that it is gone
				select {
				case <-reached:
				case err := <-ended:
					t.Fatalf("got %v before all was published: %s", err, &said)
				case <-time.After(time.Minute):
					t.Fatal("nothing was published")
				}
				all := append(children(t, cmd.Process.Pid), cmd.Process.Pid)
				stop(t, all)
				if !stalls {
					goOn()
				}
				<-time.After(quietMax + quietMax/4)
				for _, pid := range all {
					if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
						t.Fatal(err)
					}
				}
				if stalls {
					<-time.After(2 * lingerTime) // the server is slower to go on
				}
				goOn()
				if err := <-ended; err != nil {
					t.Errorf("got %v, want a fine run\n%s", err, &said)
				}
			})
		}
	}
}

// stop stops processes, and returns when they are.
func stop(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for ; ; <-look.C {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("process %d is not stopped: %s, %v", pid, text, err)
			}
			if strings.HasPrefix(string(text[bytes.LastIndexByte(text, ')')+1:]), " T") {
				break
			}
		}
	}
}
