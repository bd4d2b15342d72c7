package cli

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// memoryIn asks a process, which a shell command makes of itself by exec "$0", for the limit of its cgroup.
func memoryIn(command *exec.Cmd) (limit int64, why string) {
	command.Env = append(os.Environ(), childEnv+"=memory")
	out, err := command.CombinedOutput()
	if err == nil {
		limit, err = strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	}
	if err != nil {
		return 0, fmt.Sprintf("%v: %s", err, out)
	}
	return limit, ""
}

// The trees are made up; they lie over /sys/fs/cgroup and over two files of /proc in a mount namespace of the asked process.
func TestMemoryLimitIsTheLeastOfTheOwnCgroupAndThoseAbove(t *testing.T) {
	const (
		none = math.MaxInt64
		gib  = 1 << 30
		v2   = "40 30 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
		v1   = "41 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
	)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		mounts, cgroup string
		files          map[string]string // below /sys/fs/cgroup
		want           int64
	}{
		"a systemd unit": {v2, "0::/system.slice/ringcast.service", map[string]string{
			"system.slice/memory.max": "max", "system.slice/ringcast.service/memory.max": "1073741824"}, gib},
		"its slice has less": {v2, "0::/system.slice/ringcast.service", map[string]string{
			"system.slice/memory.max": "1073741824", "system.slice/ringcast.service/memory.max": "3221225472"}, gib},
		"the slice alone has a bound": {v2, "0::/a.slice/b.slice/c.service", map[string]string{
			"a.slice/memory.max": "2147483648", "a.slice/b.slice/memory.max": "max", "a.slice/b.slice/c.service/memory.max": "max"}, 2 * gib},
		"no bound":                        {v2, "0::/system.slice/ringcast.service", map[string]string{"system.slice/ringcast.service/memory.max": "max"}, none},
		"a bound of another's":            {v2, "0::/system.slice/ringcast.service", map[string]string{"system.slice/ringcast.service/memory.max": "max", "system.slice/other.service/memory.max": "1"}, none},
		"memory.high is no bound":         {v2, "0::/a", map[string]string{"a/memory.high": "1073741824", "a/memory.max": "max"}, none},
		"a container":                     {v2, "0::/", map[string]string{"memory.max": "1073741824"}, gib},
		"a cgroup in a container":         {v2, "0::/app", map[string]string{"memory.max": "1073741824", "app/memory.max": "max"}, gib},
		"a container without a namespace": {strings.Replace(v2, "0:29 /", "0:29 /docker/abc", 1), "0::/docker/abc", map[string]string{"memory.max": "1073741824"}, gib},
		"a path with colons": {v2, "0::/kubepods.slice/pod1.slice:cri-containerd:abc", map[string]string{
			"kubepods.slice/pod1.slice:cri-containerd:abc/memory.max": "1073741824"}, gib},
		"moved out of its namespace": {v2, "0::/../other", map[string]string{"memory.max": "1073741824"}, gib},
		"version 1":                  {v1, "4:memory:/a/b\n0::/", map[string]string{"memory/a/b/memory.limit_in_bytes": "1073741824"}, gib},
		"version 1, less above": {v1, "4:memory:/a/b", map[string]string{
			"memory/a/b/memory.limit_in_bytes": "2147483648", "memory/a/b/memory.stat": "cache 0\nhierarchical_memory_limit 1073741824\n"}, gib},
		"version 1, no bound": {v1, "4:memory:/a", map[string]string{"memory/a/memory.limit_in_bytes": "9223372036854771712"}, none},
		"version 1, a container without a namespace": {strings.Replace(v1, "0:30 /", "0:30 /docker/abc", 1), "4:memory:/docker/abc", map[string]string{
			"memory/memory.limit_in_bytes": "1073741824"}, gib},
		"version 1, the namespace is younger than the mount": {strings.Replace(v1, "0:30 /", "0:30 /..", 1), "4:memory:/", map[string]string{
			"memory/memory.limit_in_bytes": "1073741824"}, gib},
		"both, memory in version 1": {v1 + "\n" + strings.Replace(v2, "/sys/fs/cgroup", "/sys/fs/cgroup/unified", 1), "4:memory:/a\n0::/a", map[string]string{
			"memory/a/memory.limit_in_bytes": "1073741824", "unified/a/cgroup.procs": ""}, gib},
		"both, memory in version 2": {"42 30 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" + strings.Replace(v2, "/sys/fs/cgroup", "/sys/fs/cgroup/unified", 1),
			"8:pids:/a\n0::/a", map[string]string{"unified/a/memory.max": "1073741824", "pids/a/pids.max": "max"}, gib},
		"nothing is mounted": {"42 30 0:31 / / rw - ext4 /dev/vda rw", "0::/", nil, none},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write("mountinfo", c.mounts)
			write("cgroup", c.cgroup)
			write("tree/x", "")
			for name, text := range c.files {
				write("tree/"+name, text)
			}
			got, why := memoryIn(exec.Command("unshare", "--mount", "--map-root-user", "sh", "-c", `cd "$1" && mount --bind tree /sys/fs/cgroup &&
				mount --bind mountinfo /proc/$$/mountinfo && mount --bind cgroup /proc/$$/cgroup && exec "$0"`, program, dir))
			if why != "" {
				t.Skip("this machine does not let a test mount over files of /proc: ", why)
			}
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// With the kernel's own files, where it lets us make a cgroup.
func TestMemoryLimitOfARealCgroupIsSeen(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	above, bound := "/sys/fs/cgroup", "memory.max"
	if strings.Contains(string(mounts), " /sys/fs/cgroup/memory ") {
		above, bound = "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	}
	outer := filepath.Join(above, fmt.Sprintf("ringcast-test-%d", os.Getpid()))
	inner := filepath.Join(outer, "inner")
	for _, dir := range []string{outer, inner} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skip("this machine does not let a test make a cgroup: ", err)
		}
		defer os.Remove(dir)
		if dir == outer && bound == "memory.max" {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
				t.Skip("this machine does not let a cgroup bound memory: ", err)
			}
		}
	}
	for _, c := range []struct {
		outer, inner string
		want         int64
	}{{"1073741824", "-1", 1 << 30}, {"1073741824", "536870912", 1 << 29}, {"268435456", "536870912", 1 << 28}} {
		for _, set := range []struct{ dir, to string }{{inner, "-1"}, {outer, c.outer}, {inner, c.inner}} { // version 1 wants the inner bound to fit at once
			to := set.to
			if to == "-1" && bound == "memory.max" {
				to = "max"
			}
			if err := os.WriteFile(filepath.Join(set.dir, bound), []byte(to), 0); err != nil {
				t.Skip("this machine does not let a cgroup bound memory: ", err)
			}
		}
		got, why := memoryIn(exec.Command("sh", "-c", `echo $$ > "$1/cgroup.procs" && exec "$0"`, program, inner))
		if why != "" {
			t.Fatal(why)
		}
		if got != c.want {
			t.Errorf("%s outside, %s inside: got %d, want %d", c.outer, c.inner, got, c.want)
		}
	}
}
