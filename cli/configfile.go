package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// configFlag is the path of a config file, read as soon as the flag or its environment variable is known.
//
// The file is one JSON object from flag names to values. Whatever has an environment variable may stand in it, save
// --config itself. kong's own JSON loader is not used: it lets the file beat the environment and says nothing about a
// key that no flag has, which is how a typing mistake becomes a default.
type configFlag string

// configBytesMax bounds the file: a mistaken path (a log, a device) shall not fill the memory.
const configBytesMax = 1 << 20

// BeforeResolve reads the file and hands it to the parser; kong calls it by this name.
func (configFlag) BeforeResolve(k *kong.Kong, ctx *kong.Context, trace *kong.Path, g *globals) error {
	path := string(ctx.FlagValue(trace.Flag).(configFlag))
	at := path
	if !strings.HasPrefix(path, "~/") {
		at = g.abs(path)
	}
	file, err := readConfig(kong.ExpandPath(at))
	if err != nil {
		return usagef("--config %q: %v", path, err)
	}
	file.path = path
	// Checked here and not in Validate, which runs last: an unknown key explains what comes after it.
	if err := file.check(k.Model); err != nil {
		return err
	}
	ctx.AddResolver(file)
	return nil
}

// lists are the settings that may be JSON arrays of strings; as flags their elements stand between commas.
var lists = map[string]bool{"allowed-origins": true, "trusted-proxies": true}

// configFile is a config file that has been read.
type configFile struct {
	path   string
	values map[string]string // by flag name
}

func readConfig(path string) (*configFile, error) {
	f, err := os.Open(path)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err // the caller names the path
		}
		return nil, fmt.Errorf("%w; name a file that can be read", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, configBytesMax+1))
	if err != nil {
		return nil, err
	}
	if len(text) > configBytesMax {
		return nil, fmt.Errorf("is longer than %s, so it is hardly a config file", sizeText(configBytesMax))
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, fmt.Errorf("holds a JSON %s; write an object, such as {\"loops\": 4}", kind.Value)
		}
		return nil, fmt.Errorf("is not a JSON object: %v%s", err, lineOf(text, err))
	}
	if key := repeatedKey(text); key != "" {
		return nil, fmt.Errorf("has the key %q twice; write it once", key)
	}
	values := make(map[string]string, len(raw))
	for key, value := range raw {
		switch value[0] {
		case '"':
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return nil, err
			}
			values[key] = s
		case '{', '[', 'n':
			var list []string
			if !lists[key] {
				return nil, fmt.Errorf("key %q is %s; write a string, a number, true or false", key, value)
			} else if err := json.Unmarshal(value, &list); err != nil || list == nil {
				return nil, fmt.Errorf("key %q is %s; write a string or an array of strings", key, value)
			}
			values[key] = strings.Join(list, ",")
		default:
			values[key] = string(value)
		}
	}
	return &configFile{values: values}, nil
}

// repeatedKey is a key that a JSON object has twice, empty if there is none: package json would take the last and say
// nothing.
func repeatedKey(object []byte) string {
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(object))
	_, _ = d.Token() // the brace; it has been read without an error once
	for d.More() {
		var value json.RawMessage
		key, _ := d.Token()
		_ = d.Decode(&value)
		name, _ := key.(string)
		if seen[name] {
			return name
		}
		seen[name] = true
	}
	return ""
}

// lineOf says where a syntax error stands, in the unit in which people find it.
func lineOf(text []byte, err error) string {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return ""
	}
	before := text[:min(int(syntax.Offset), len(text))]
	return fmt.Sprintf(" (line %d)", 1+strings.Count(string(before), "\n"))
}

// check refuses keys that are no setting.
func (c *configFile) check(app *kong.Application) error {
	known := map[string]bool{}
	for _, leaf := range append([]*kong.Node{app.Node}, app.Leaves(false)...) {
		for _, flag := range leaf.Flags {
			if len(flag.Envs) > 0 && flag.Name != "config" {
				known[flag.Name] = true
			}
		}
	}
	var unknown []string
	for key := range c.values {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(unknown)
	slices.Sort(names)
	return usagef("--config %q: there is no setting %q; the settings are %s", c.path, unknown[0], strings.Join(names, ", "))
}

// Validate has nothing left to do.
func (c *configFile) Validate(*kong.Application) error { return nil }

// Resolve gives the file's value for a flag that was not typed. kong asks resolvers before it looks whether the
// environment has spoken, so the file steps back here.
func (c *configFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := c.values[flag.Name]
	if !ok {
		return nil, nil
	}
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	return value, nil
}

// origin says in brackets where a flag's value came from when it was not typed, so that the mistake can be found.
func origin(ctx *kong.Context, name string) string {
	for _, step := range ctx.Path {
		if step.Flag == nil || step.Flag.Name != name {
			continue
		}
		if step.Resolved {
			return " (from the config file)"
		}
		return ""
	}
	for _, flag := range ctx.Flags() {
		if flag.Name != name {
			continue
		}
		for _, env := range flag.Envs {
			if _, set := os.LookupEnv(env); set {
				return " (from " + env + ")"
			}
		}
	}
	return ""
}
