package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the version of ringcast.
const Version = "0.1.0"

// versionVerb shows the version.
type versionVerb struct{}

// Run is called by kong.
func (*versionVerb) Run(r *env) error {
	fmt.Fprintf(r.stdout, "ringcast %s\n%s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// versionText is the version and, in a binary built inside a checkout, the revision.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version
	}
	return Version + revisionText(info.Settings)
}

func revisionText(settings []debug.BuildSetting) string {
	var revision, modified string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	if revision == "" {
		return ""
	}
	return " (" + revision + modified + ")"
}
