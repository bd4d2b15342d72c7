package settings

import (
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Source is what settings are read from, besides the arguments. The caller reads it from the machine.
type Source struct {
	Environ []string // NAME=value, as os.Environ gives it
	// Open opens the config file by the name that the operator gave it. How it treats ~ and directories is up to the caller.
	Open func(name string) (io.ReadCloser, error)

	Dir        string // what the names of other files are relative to
	Hostname   string // of this machine; empty: it has none
	NoCluster  bool   // the program has no cluster in it
	TmpRunDir  string // the last default of --run-dir, for its help
	Memory     int64  // what --memory-limit auto stands for, in bytes; 0: unknown, so no limit
	MemoryFrom string // what that was taken from, a word for the log
	CPUs       int    // what --loops auto stands for
}

// Globals are the flags of every verb. After Parse they know where each value came from.
type Globals struct {
	RunDir string `name:"run-dir" placeholder:"DIR" env:"RINGCAST_RUN_DIR" help:"Where the server keeps its pid file and control socket; the other verbs find it there. Default: $${XDG_RUNTIME_DIR}/ringcast, else ${run_dir_tmp}."`
	Config string `name:"config" placeholder:"FILE" env:"RINGCAST_CONFIG" help:"JSON object with settings by flag name, such as {\"loops\": 4}. Its list \"groups\", such as [{\"match\": \"chat:*\", \"members-max\": 100}], has limits for groups by their names; the first match counts. A flag takes precedence over its environment variable, which takes precedence over the file."`

	reading *reading
}

// reading is one Parse: what it reads from, and what it has found there.
type reading struct {
	Source
	file    *configFile       // nil: none was named
	origins map[string]string // by flag name, of values that were not typed
}

// Parse reads a command line into grammar, a struct with kong's tags that g is part of, and fills in from the environment
// and the config file what was not typed. A mistake is a UsageError; any other error is one of the grammar.
//
// The environment is read here and not by kong, which would take it from the process.
func Parse(src Source, grammar any, g *Globals, args []string, options ...kong.Option) (*kong.Context, error) {
	g.reading = &reading{Source: src, origins: map[string]string{}}
	parser, err := kong.New(grammar, append([]kong.Option{
		kong.Vars{"run_dir_tmp": src.TmpRunDir},
		kong.Resolvers(g.reading),
		kong.ValueFormatter(helpOf),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	for _, node := range append([]*kong.Node{parser.Model.Node}, parser.Model.Leaves(false)...) {
		for _, flag := range node.Flags {
			flag.Tag.Envs = nil // flag.Envs, which kong does not act on, keeps them
		}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return nil, &UsageError{parseErrorText(err, parser.Model, args)}
	}
	return ctx, nil
}

// helpOf is kong's help of a flag, with the variables that Parse has taken away.
func helpOf(v *kong.Value) string {
	if v.Flag == nil {
		return v.Help
	}
	tagged := *v
	tagged.Tag = &kong.Tag{Envs: v.Flag.Envs}
	return kong.DefaultHelpValueFormatter(&tagged)
}

// BeforeResolve reads the config file as soon as its name is known; kong calls it by this name. The file is checked here
// and not in Validate, which runs last: an unknown key is often the cause of the errors that would come before.
func (g *Globals) BeforeResolve(ctx *kong.Context) error {
	name, named := g.reading.variable("RINGCAST_CONFIG")
	for _, step := range ctx.Path {
		if step.Flag != nil && step.Flag.Name == "config" {
			name, named = ctx.FlagValue(step.Flag).(string), true
		}
	}
	if !named {
		return nil
	}
	file, err := readConfig(name, g.reading.Open)
	if err != nil {
		return Usagef("--config %q: %v", name, err)
	}
	g.reading.file = file
	return nil
}

// Resolve gives the value of a flag that was not typed; kong calls it by this name.
func (r *reading) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		value, set := r.variable(name)
		if !set {
			continue
		}
		if err := fits(flag, value); err != nil {
			return nil, fmt.Errorf("%w (from envar %s=%q)", err, name, value)
		}
		r.origins[flag.Name] = " (from " + name + ")"
		return value, nil
	}
	if r.file == nil {
		return nil, nil
	}
	value, set := r.file.values[flag.Name]
	if !set {
		return nil, nil
	}
	r.origins[flag.Name] = " (from the config file)"
	return value, nil
}

// Validate does nothing; kong's interface demands it.
func (*reading) Validate(*kong.Application) error { return nil }

// fits checks that a flag can hold a value: kong does the same, but its error would not say where the value came from.
func fits(flag *kong.Flag, value string) error {
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
	return flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, reflect.New(flag.Target.Type()).Elem())
}

// variable is a variable of the environment, and whether it is set.
func (r *reading) variable(name string) (value string, set bool) {
	for _, v := range r.Environ {
		if n, value, _ := strings.Cut(v, "="); n == name {
			return value, true
		}
	}
	return "", false
}

// Origin says in brackets where a flag's value came from when it was not typed, so that an operator finds the mistake.
func (g *Globals) Origin(flag string) string { return g.reading.origins[flag] }

// abs makes a name of a file independent of where it is used.
func (g *Globals) abs(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(g.reading.Dir, name)
}

// parseErrorText rewords those of kong's messages that only make sense to the author of a parser.
func parseErrorText(err error, app *kong.Application, args []string) string {
	text := err.Error()
	if strings.HasPrefix(text, "unexpected argument ") && slices.ContainsFunc(args, namesSecret) { // it may be a second secret
		return "there is a word too many, which is not shown, as it may be a secret; name a flag again for each of its values, and put quotes around a value with spaces"
	}
	if flag, _, missing := strings.Cut(text, `: expected string value but got "EOL"`); missing {
		return flag + " needs a value; write " + flag + "=VALUE"
	}
	if flag, got, dashes := strings.Cut(text, ": expected string value but got "); dashes && (isSecret(strings.TrimPrefix(flag, "--")) || strings.Contains(got, "-----BEGIN")) {
		return flag + " has a value that begins with - and looks like a flag; write " + flag + "=VALUE"
	}
	if flag, _, missing := strings.Cut(text, ": missing value, expecting "); missing { // of a list
		return flag + " needs a value; write " + flag + "=VALUE"
	}
	if verb, unknown := strings.CutPrefix(text, "unexpected argument "); unknown && !strings.Contains(verb, "did you mean") {
		var verbs []string
		for _, v := range app.Leaves(true) {
			verbs = append(verbs, v.Name)
		}
		last := len(verbs) - 1
		return fmt.Sprintf("%s is neither a verb nor a flag; the verbs are %s and %s", verb, strings.Join(verbs[:last], ", "), verbs[last])
	}
	return text
}

// namesSecret says whether a word of a command line is the name of a flag with a secret.
func namesSecret(arg string) bool {
	name, is := strings.CutPrefix(arg, "--")
	name, _, _ = strings.Cut(name, "=")
	return is && isSecret(name)
}

// UsageError is the operator's mistake, and says how to mend it.
type UsageError struct{ Text string }

// Error is the text.
func (e *UsageError) Error() string { return e.Text }

// Usagef makes a UsageError as fmt.Sprintf makes a text.
func Usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }
