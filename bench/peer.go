package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// peer is a server that compare can start: how it is built from its sources, and how it is run. Sources are directories
// in bench/peers; each is a module or package of its own, so that its dependencies are not those of ringcast.
type peer struct {
	name  string
	forms []string // values of --form: usual follows its manual, batch gathers what waits for a client into one write
	needs []string // programs that have to be installed
	make  []string
	made  string   // the last file that make writes, in its directory; if it exists, make has been run. Empty: run make each time
	start []string // {bin} is where make may put a program; port and form are added

	speaks client.Dialect
	keeps  bool     // it can have a history, by --history
	packs  []string // forms that can compress, by --compression
}

func goPeer(name string) peer {
	return peer{name: name, forms: []string{"usual", "batch"}, needs: []string{"go"}, make: []string{"go", "build", "-o", "{bin}", "."}, start: []string{"{bin}"}, speaks: client.Plain}
}

// centrifugePeer is Centrifugo's own library, which joins what waits for a client by itself.
func centrifugePeer() peer {
	p := goPeer("centrifuge")
	p.forms, p.speaks, p.keeps = []string{"usual"}, client.Centrifuge, true
	return p
}

var npmInstall = []string{"npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"}

// packing is a peer with forms that can compress.
func (p peer) packing(forms ...string) peer {
	p.packs = forms
	return p
}

var peers = []peer{
	goPeer("gws").packing("usual"), goPeer("nbio"), goPeer("gorilla"), goPeer("gobwas"),
	{"ws", []string{"usual", "batch"}, []string{"node", "npm"}, npmInstall, "node_modules/.package-lock.json", []string{"node", "server.mjs"}, client.Plain, false, []string{"usual", "batch"}},
	{"bun", []string{"usual"}, []string{"npm"}, npmInstall, "node_modules/.package-lock.json", []string{"node_modules/.bin/bun", "server.ts"}, client.Plain, false, []string{"usual"}},
	{"workerman", []string{"usual", "batch"}, []string{"php", "composer"}, []string{"composer", "install", "--no-dev", "--quiet", "--no-interaction"}, "vendor/autoload.php",
		[]string{"php", "-d", "opcache.enable_cli=1", "-d", "opcache.jit_buffer_size=64M", "-d", "opcache.jit=tracing", "server.php", "start"}, client.Plain, false, nil},
	centrifugePeer(),
	{"soketi", []string{"usual"}, []string{"node", "npm"}, slices.Concat(npmInstall, []string{"--ignore-scripts"}), "node_modules/.package-lock.json", []string{"node", "server.mjs"}, client.Pusher, false, nil},
}

// contender is one row of a comparison: a server in one form, which can be started repeatedly.
type contender struct {
	name   string
	dir    string
	start  func(addr string, port int) []string
	status func(port int) string // its status socket; nil: it has none
	speaks client.Dialect        // in this comparison

	history int // messages that it keeps of each group; 0: it has no history
	wire    wireFlags
}

// fits says whether it is worth measuring the contender under a load: the ceiling in the form that costs the least under it,
// and with many messages in flight also in the other form, to show what gathering saves.
func (c contender) fits(load named) bool {
	if load.back != nil {
		return c.history > 0
	}
	switch c.name {
	case report.CeilingPrefix + " turn":
		return load.gathers()
	case report.CeilingPrefix + " message":
		return !load.gathers() || load.load.Rate == 0
	}
	return true
}

// defaultWith are the servers of a comparison, if nobody says otherwise.
var defaultWith = map[client.Dialect][]string{
	client.Plain:      {"gws", "nbio", "gorilla", "gobwas", "ws", "bun", report.CeilingPrefix},
	client.Centrifuge: {"centrifuge", report.CeilingPrefix},
	client.Pusher:     {"soketi", report.CeilingPrefix},
}

// checkWith says whether there are all servers that --with names, and whether they speak the dialect and what lies below it.
func (v *compareVerb) checkWith() error {
	for _, name := range v.With {
		switch at := findPeer(name); {
		case (name == report.Goroutines || name == nginxPeer) && v.TLS, name == report.CeilingPrefix && !v.TLS:
		case name == report.Goroutines || name == nginxPeer:
			return fmt.Errorf("--with: %s is for --tls", name)
		case at < 0 && name != report.CeilingPrefix:
			return fmt.Errorf("--with: there is no %q; there are %s", name, peerNames())
		case v.TLS:
			return fmt.Errorf("--with: with --tls there are %s and %s", report.Goroutines, nginxPeer)
		case at >= 0 && peers[at].speaks != v.Dialect:
			return fmt.Errorf("--with: %s speaks the dialect %s alone: leave it out, or compare with --dialect %s", name, peers[at].speaks, peers[at].speaks)
		case v.Compression && at >= 0 && peers[at].packs == nil:
			return fmt.Errorf("--with: %s cannot compress here: leave it out", name)
		}
	}
	return nil
}

// makeRingcast builds it. Tests build it once for all.
var makeRingcast = func(ctx context.Context, root, program string) error {
	return execute(ctx, root, "go", "build", "-o", program, ".")
}

// contenders builds everything that --with names, ringcast first. Those that can have a history are there once more with one of kept
// messages, unless that is 0, and ringcast as it is without TLS or compression, if these are measured. If one cannot be built, the
// comparison ends before it begins, with a hint what to do about it.
func (v *compareVerb) contenders(ctx context.Context, kept int, scratch string) ([]contender, error) {
	if err := v.checkWith(); err != nil {
		return nil, err
	}
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(scratch, "ringcast")
	if err := makeRingcast(ctx, root, program); err != nil {
		return nil, err
	}
	if v.TLS {
		if err := writeCertificate(scratch); err != nil {
			return nil, err
		}
	}
	ringcast := func(name, loops string, history int, wire wireFlags) contender {
		runDir := func(port int) string { return filepath.Join(scratch, "run-"+strconv.Itoa(port)) }
		return contender{name, root, func(addr string, port int) []string {
			command := []string{program, "start", "--loops", loops, "--admin", "off", "--run-dir", runDir(port)}
			if wire.TLS {
				command = append(command, "--listen", "off", "--tls-listen", addr, "--tls-cert", certificateFile(scratch), "--tls-key", keyFile(scratch))
			} else {
				command = append(command, "--listen", addr)
			}
			if wire.Compression {
				command = append(command, "--compression", "on")
			}
			if v.Dialect == client.Pusher {
				command = append(command, "--pusher", benchPusher)
			}
			if history > 0 {
				command = append(command, "--history", strconv.Itoa(history))
			}
			return command
		}, func(port int) string { return filepath.Join(runDir(port), "ringcast.sock") }, v.Dialect, history, wire}
	}
	all := []contender{ringcast("ringcast", "auto", 0, v.wire())}
	switch {
	case v.TLS:
		all = append(all, ringcast("ringcast without TLS", "auto", 0, wireFlags{}))
	case v.Compression:
		all = append(all, ringcast("ringcast uncompressed", "auto", 0, wireFlags{}))
	default:
		all = append(all, ringcast("ringcast 8 loops", "8", 0, wireFlags{}))
	}
	if kept > 0 {
		all = append(all, ringcast("ringcast history", "auto", kept, v.wire()))
	}
	for _, name := range v.With {
		made, err := []contender(nil), error(nil)
		switch name {
		case report.CeilingPrefix:
			made, err = ceilings(v.Dialect, v.wire())
		case report.Goroutines, nginxPeer:
			made, err = secureContenders(name, program, scratch)
		default:
			made, err = peers[findPeer(name)].contenders(ctx, filepath.Join(root, "bench", "peers", name), kept, scratch, v.wire())
		}
		if err != nil {
			return nil, err
		}
		all = append(all, made...)
	}
	return all, nil
}

func ceilings(dialect client.Dialect, wire wireFlags) ([]contender, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	var all []contender
	for _, form := range []string{"message", "turn"} {
		all = append(all, contender{report.CeilingPrefix + " " + form, "", func(addr string, _ int) []string {
			return wire.command(program, "ceiling", "--serve", form, "--listen", addr)
		}, nil, dialect, 0, wire})
	}
	return all, nil
}

// command adds the flag by which all peers are told to compress.
func (f wireFlags) command(command ...string) []string {
	if f.Compression {
		return append(command, "--compression")
	}
	return command
}

func (p peer) contenders(ctx context.Context, dir string, kept int, scratch string, wire wireFlags) ([]contender, error) {
	for _, program := range p.needs {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s needs %s, which is not in the PATH: install it, or leave %s out of --with", p.name, program, p.name)
		}
	}
	bin := filepath.Join(scratch, p.name)
	fill := func(command []string) []string {
		filled := slices.Clone(command)
		for i := range filled {
			filled[i] = strings.ReplaceAll(filled[i], "{bin}", bin)
		}
		return filled
	}
	if !p.isMade(dir) {
		if err := execute(ctx, dir, fill(p.make)...); err != nil {
			return nil, fmt.Errorf("%s cannot be built (leave it out of --with to go on without it): %w", p.name, err)
		}
	}
	var all []contender
	for _, form := range p.forms {
		name := p.name
		if form != "usual" {
			name += " " + form
		}
		if wire.Compression && !slices.Contains(p.packs, form) {
			continue
		}
		all = append(all, contender{name, dir, func(_ string, port int) []string {
			return wire.command(append(fill(p.start), "--port", strconv.Itoa(port), "--form", form)...)
		}, nil, p.speaks, 0, wire})
	}
	if p.keeps && kept > 0 {
		all = append(all, contender{p.name + " history", dir, func(_ string, port int) []string {
			return append(fill(p.start), "--port", strconv.Itoa(port), "--history", strconv.Itoa(kept))
		}, nil, p.speaks, kept, wire})
	}
	return all, nil
}

// isMade says whether make has been run since the versions were last changed.
func (p peer) isMade(dir string) bool {
	if p.made == "" {
		return false
	}
	made, err := os.Stat(filepath.Join(dir, p.made))
	if err != nil {
		return false
	}
	for _, name := range []string{"package-lock.json", "composer.json"} {
		if pins, err := os.Stat(filepath.Join(dir, name)); err == nil && pins.ModTime().After(made.ModTime()) {
			return false
		}
	}
	return true
}

// findPeer is the place of a peer in the list, negative when there is none of this name.
func findPeer(name string) int {
	return slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
}

func peerNames() string {
	names := []string{report.CeilingPrefix}
	for _, p := range peers {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

func withHelp() string {
	help := strings.Join(defaultWith[client.Plain], ",")
	for _, dialect := range []client.Dialect{client.Centrifuge, client.Pusher} {
		help += fmt.Sprintf("; with --dialect %s: %s", dialect, strings.Join(defaultWith[dialect], ","))
	}
	return help
}

// execute runs a command to its end; its output is in the error.
func execute(ctx context.Context, dir string, command ...string) error {
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Dir = dir
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("`%s` in %s: %w\n%s", strings.Join(command, " "), dir, err, strings.TrimSpace(string(said)))
	}
	return nil
}

// findRoot is the directory of the project's go.mod, at or above the working directory.
func findRoot() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("the working directory: %w", err)
	}
	for {
		if text, err := os.ReadFile(filepath.Join(at, "go.mod")); err == nil && strings.HasPrefix(string(text), "module ringcast\n") {
			return at, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", errors.New("compare builds the servers from their sources: run it inside the project's directory")
		}
		at = up
	}
}
