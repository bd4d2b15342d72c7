package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringcast/bench/report"
)

const (
	// nodeSampleEvery is how often it is noted what a node has: often enough to see a drift in minutes.
	nodeSampleEvery = 10 * time.Second
	askTime         = time.Second
)

// ask has the node say what it knows of itself, over its status socket. own is nil when it does not answer.
func (n *node) ask() {
	n.own = nil
	if n.socket == "" || !n.up() || n.stopped {
		return
	}
	over := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", n.socket)
	}}
	get := http.Client{Timeout: askTime, Transport: over}
	answer, err := get.Get("http://status/status")
	if err != nil {
		return
	}
	defer answer.Body.Close()
	var says struct {
		Cluster *struct {
			Node       string
			Partitions []struct{ Leader string }
			report.NodeOwn
		}
	}
	if json.NewDecoder(answer.Body).Decode(&says) != nil || says.Cluster == nil {
		return
	}
	own := says.Cluster.NodeOwn
	own.Leads = 0
	for _, p := range says.Cluster.Partitions {
		if p.Leader == n.name {
			own.Leads++
		}
	}
	n.own = &own
}

// sample notes what the node has.
func (n *node) sample(at int64) {
	if n.child == nil || !n.up() || n.stopped {
		return
	}
	s := report.NodeSample{At: at, RSS: n.rss}
	if names, err := os.ReadDir("/proc/" + strconv.Itoa(n.child.cmd.Process.Pid) + "/fd"); err == nil {
		s.FDs = len(names)
	}
	s.Goroutines = n.goroutines()
	_ = filepath.WalkDir(n.store, func(_ string, entry fs.DirEntry, err error) error { // a file may be gone by now
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				s.Store += info.Size()
			}
		}
		return nil
	})
	n.samples = append(n.samples, s)
}

// goroutines is how many the node says it has; 0: it does not.
func (n *node) goroutines() int {
	get := http.Client{Timeout: askTime}
	answer, err := get.Get(n.metrics)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			count, _ := strconv.Atoi(text) // 0: not known
			return count
		}
	}
	return 0
}

// profile writes a CPU profile of each node, over the time of publishing. The function that it returns waits until all are written, and
// notes which are not.
func (v *clusterVerb) profile(nodes []*node, r *report.Run, l *clusterLoad) (wait func()) {
	seconds := int(l.Time.Seconds())
	if v.Profile == "" || seconds < 1 {
		return func() {}
	}
	var all sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		name := fmt.Sprintf("%s-%s-%s.pprof", strings.ReplaceAll(r.Server, " ", "-"), n.name, time.Now().Format("150405"))
		all.Go(func() { errs[i] = n.writeProfile(filepath.Join(v.Profile, name), seconds) })
	}
	return func() {
		all.Wait()
		for i, err := range errs {
			if err != nil { // as of one that was killed meanwhile
				r.Notes = append(r.Notes, fmt.Sprintf("no profile of %s: %v", nodes[i].name, err))
			}
		}
	}
}

func (n *node) writeProfile(name string, seconds int) error {
	get := http.Client{Timeout: time.Duration(seconds)*time.Second + profilePatience}
	answer, err := get.Get(fmt.Sprintf("%s?seconds=%d", n.profile, seconds))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	profile, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, profile, 0o644)
}

// profilePatience is how much longer than asked for a profile may take.
const profilePatience = 10 * time.Second
