package cli

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestTheEndOfAnotherProcessIsWaitedFor(t *testing.T) {
	for _, pidfd := range []bool{true, false} {
		other := exec.Command("sleep", "600")
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		p := openProcess(other.Process.Pid)
		if !pidfd {
			p.close()
			p = withoutPidfd(other.Process.Pid)
		}
		if p.ended(3 * pause) {
			t.Errorf("pidfd %v, while it runs: got that it has ended", pidfd)
		}
		if err := p.signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if !p.ended(patience) { // nobody has waited for it: it is a zombie
			t.Errorf("pidfd %v, after its end: got that it runs", pidfd)
		}
		_ = other.Wait()
		if !p.ended(0) {
			t.Errorf("pidfd %v, when it is gone: got that it runs", pidfd)
		}
		p.close()
	}
}

// withoutPidfd is a process as an old kernel shows it.
func withoutPidfd(pid int) process { return process{pid, -1} }
