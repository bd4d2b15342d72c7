package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// store is the directory in which the log of this node lies, and what we write there beside the embedded server: whose it is, and whether
// the process that used it last has ended as it should.
type store struct {
	folder string
	owner  owner
}

// owner says whose a store is. The name of a node belongs to it, as the servers know each other by their names.
type owner struct {
	Cluster string `json:"cluster"` // its name
	ID      string `json:"id"`      // given at its birth; empty: it is not known yet
	Node    string `json:"node"`
	Alone   bool   `json:"alone"` // it is a cluster of one node: the servers do not take its log into a larger one, nor the other way round
}

const (
	ownerFile   = "ringcast.json"
	runningFile = "ringcast.running" // there while a process uses the store; what it says is the run of the kernel, or
	runSynced   = "synced"           // that the process writes everything through to the disk
)

// openStore makes the directory if there is none, and refuses one that is another's.
func openStore(config Config) (*store, error) {
	s := &store{folder: config.StoreDir, owner: owner{Cluster: config.Name, Node: config.Node, Alone: config.alone()}}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return nil, &ConfigError{"the store cannot be made: " + err.Error(), "name by --store-dir a directory that this user may write"}
	}
	text, err := os.ReadFile(filepath.Join(s.folder, ownerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, s.writeOwner()
	}
	var has owner
	if err == nil {
		err = json.Unmarshal(text, &has)
	}
	if err != nil {
		return nil, &ConfigError{fmt.Sprintf("the store %s does not say whose it is: %v", s.folder, err), "name another directory by --store-dir"}
	}
	if has.Cluster != config.Name {
		return nil, &ConfigError{fmt.Sprintf("the store %s is one of the cluster %q, and this is %q", s.folder, has.Cluster, config.Name),
			"name another directory by --store-dir, or say --cluster-name " + has.Cluster}
	}
	if has.Node != config.Node {
		return nil, &ConfigError{fmt.Sprintf("the store %s is that of the node %q, and this is %q", s.folder, has.Node, config.Node),
			"name another directory by --store-dir, or say --cluster-node " + has.Node}
	}
	if has.Alone && !config.alone() {
		return nil, &ConfigError{fmt.Sprintf("the store %s was made by a node alone, and its log cannot become that of several", s.folder), "name an empty directory by --store-dir"}
	}
	if !has.Alone && config.alone() {
		return nil, &ConfigError{fmt.Sprintf("the store %s is that of one node of several", s.folder),
			"say --cluster-listen and --cluster-peers as before, or name an empty directory by --store-dir"}
	}
	s.owner = has
	return s, nil
}

// belongsTo refuses a store of another cluster of the same name.
func (s *store) belongsTo(id string) error {
	if s.owner.ID == "" {
		s.owner.ID = id
		return s.writeOwner()
	}
	if s.owner.ID != id {
		return &ConfigError{fmt.Sprintf("the store %s is one of another cluster of the same name", s.folder),
			"name another directory by --store-dir; the servers have already met, so if in doubt begin with an empty one"}
	}
	return nil
}

func (s *store) writeOwner() error {
	text, err := json.Marshal(s.owner)
	if err == nil {
		at := filepath.Join(s.folder, ownerFile)
		if err = os.WriteFile(at+".new", text, 0o600); err == nil {
			err = os.Rename(at+".new", at)
		}
	}
	if err != nil {
		return &ConfigError{"the store cannot be written: " + err.Error(), "name by --store-dir a directory that this user may write"}
	}
	return nil
}

// mayHaveLost says whether messages that were acknowledged may be missing, so that positions are good no more: where nobody else has the log, it was
// not written through to the disk, and the machine has gone down under it. A process that was killed loses nothing: what it has written the
// kernel has.
func (s *store) mayHaveLost(config Config) bool {
	if !config.alone() {
		return false
	}
	run, err := os.ReadFile(filepath.Join(s.folder, runningFile))
	if err != nil || string(run) == runSynced { // by the process that ran then, whatever is wanted now
		return false
	}
	return string(run) == "" || string(run) != kernelRun()
}

// running notes that the store is in use.
func (s *store) running(config Config) error {
	run := kernelRun()
	if config.Sync {
		run = runSynced
	}
	if err := os.WriteFile(filepath.Join(s.folder, runningFile), []byte(run), 0o600); err != nil {
		return fmt.Errorf("noting that the store is in use: %w", err)
	}
	return nil
}

// close notes that the store is in use no more, and everything written.
func (s *store) close() { _ = os.Remove(filepath.Join(s.folder, runningFile)) }

// kernelRun names the time from one start of the machine to the next; empty where that is not to be had.
func kernelRun() string {
	text, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text))
}
