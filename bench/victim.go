package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringcast/bench/client"
)

// victim is the server's processes as /proc shows them. There may be several: a forking server's workers share one
// listening socket. nil if the server is on another machine or its processes cannot be seen.
type victim struct {
	pids []int
	more func() []int // finds the pids again before each reading: a server may have forked; nil: the pids stay the same
}

// cpuTime is what processes have consumed; /proc counts it in ticks of 10 ms.
type cpuTime struct{ user, system time.Duration }

const clockTick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on

func (a cpuTime) since(b cpuTime) cpuTime { return cpuTime{a.user - b.user, a.system - b.system} }
func (a cpuTime) total() time.Duration    { return a.user + a.system }

// findVictim finds the processes that listen on the target: the socket's inode from /proc/net, then its holders from
// /proc/PID/fd.
func findVictim(t client.Target, pids []int) (*victim, error) {
	if len(pids) > 0 {
		v := &victim{pids: pids}
		_, err := v.cpu()
		return v, err
	}
	if !t.Loopback() {
		return nil, errors.New("the server is not on this machine")
	}
	sockets := map[string]bool{}
	for tries := 3; len(sockets) == 0 && tries > 0; tries-- { // a table whose lines come and go while it is read may be read without one that stays
		for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
			listening(table, t.Addr, sockets)
		}
	}
	if len(sockets) == 0 {
		return nil, errors.New("no listening socket in /proc/net/tcp* (the server may be in another network namespace)")
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is right, so there is no error
	for _, link := range links {
		name, err := os.Readlink(link)
		if err != nil || !sockets[name] {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, errors.New("no process shows the listening socket (another user's: run as root, or give --pid)")
	}
	return &victim{pids: pids}, nil
}

// listening adds the sockets of a /proc/net table that accept connections to addr, as /proc/PID/fd names them.
func listening(table string, addr netip.AddrPort, sockets map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return // no IPv6: no table
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != "0A" { // TCP_LISTEN
			continue
		}
		local, ok := procAddr(fields[1])
		if ok && local.Port() == addr.Port() && (local.Addr() == addr.Addr() || local.Addr().IsUnspecified()) {
			sockets["socket:["+fields[9]+"]"] = true
		}
	}
}

// procAddr reads "0100007F:04D2": the address is hex words in the machine's byte order, which is little-endian on
// every machine this was tried on.
func procAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	number, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), ok
}

// look updates the pids.
func (v *victim) look() {
	if v.more != nil {
		if pids := v.more(); len(pids) > 0 {
			v.pids = pids
		}
	}
}

// cpu is the user and system time of all processes so far.
func (v *victim) cpu() (cpuTime, error) {
	v.look()
	var sum cpuTime
	for _, pid := range v.pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return sum, fmt.Errorf("the server's process is gone: %w", err)
		}
		// The name may hold spaces and parentheses, so fields are counted from the last ')': utime and stime are
		// fields 14 and 15 of proc(5), the 12th and 13th after it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
		system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return sum, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum.user += time.Duration(user) * clockTick
		sum.system += time.Duration(system) * clockTick
	}
	return sum, nil
}

// rss is the resident memory of all processes in bytes. Pages that forked processes share are counted for each.
func (v *victim) rss() (int64, error) {
	v.look()
	var sum int64
	for _, pid := range v.pids {
		statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return sum, fmt.Errorf("the server's process is gone: %w", err)
		}
		pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		if err != nil {
			return sum, fmt.Errorf("/proc/%d/statm: %w", pid, err)
		}
		sum += pages * int64(os.Getpagesize())
	}
	return sum, nil
}
