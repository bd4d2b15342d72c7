package loop

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// ListenAddress is where a server listens, as an operator writes it: HOST:PORT, or a unix socket with the mode and owner of its file.
type ListenAddress struct {
	text  string      // as it was written
	path  string      // of a unix socket; empty: TCP on text
	mode  fs.FileMode // of its file
	owner string      // of its file, by name or number; empty: who runs the server
	group string      // likewise
}

const (
	// ListenMax bounds Config.Listen. Each address takes a descriptor or two, and is a listener of the engine.
	ListenMax = 16

	socketPathMax = 107 // the room for a path in sockaddr_un, less the final zero (unix(7)); 108 on Linux

	// socketMode is for a proxy that runs as another user: it gets in by the group of the file.
	socketMode = 0o660
)

// ParseListen reads a listen address. What it does not check of HOST:PORT shows when the server listens. The error says how to
// mend it.
func ParseListen(text string) (ListenAddress, error) {
	a := ListenAddress{text: text, mode: socketMode}
	rest, isUnix := strings.CutPrefix(text, "unix:")
	if !isUnix {
		return a, nil
	}
	path, options, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "?")
	if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") || len(path) > socketPathMax || strings.ContainsAny(path, "\x00,") {
		return a, fmt.Errorf("is not the path of a socket; write unix:///PATH, of at most %d bytes and without a comma", socketPathMax)
	}
	a.path = filepath.Clean(path)
	values, err := url.ParseQuery(options)
	if err != nil {
		return a, errOptions
	}
	for name, all := range values {
		value := all[0]
		mode, err := strconv.ParseUint(value, 8, 32)
		switch {
		case len(all) > 1 || value == "":
			return a, errOptions
		case name == "mode" && err == nil && mode <= 0o777 && len(value) >= 3:
			a.mode = fs.FileMode(mode)
		case name == "user":
			a.owner = value
		case name == "group":
			a.group = value
		default:
			return a, errOptions
		}
	}
	return a, nil
}

var errOptions = errors.New("has an unknown option; behind the path may stand ?mode=0660&user=NAME&group=NAME, or some of them")

// Path is the path of a unix socket, empty for any other address.
func (a *ListenAddress) Path() string { return a.path }

// unixName is how a unix socket is shown.
func unixName(path string) string { return "unix:" + path }

// owners are the numbers of the user and group that the file of a unix socket shall have, -1 for those that it has already.
func (a *ListenAddress) owners() (uid, gid int, err error) {
	number := func(name string, look func(string) (string, error)) (int, error) {
		if name == "" {
			return -1, nil
		}
		if n, err := strconv.Atoi(name); err == nil {
			return n, nil
		}
		text, err := look(name)
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(text)
	}
	uid, err = number(a.owner, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return 0, 0, err
	}
	gid, err = number(a.group, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid, err
}
