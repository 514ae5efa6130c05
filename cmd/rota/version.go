package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
)

// unknownVersion is the version of a build of which nothing is known.
const unknownVersion = "dev"

// version is that of this build. The Makefile lets the linker set it; for programs that go install built it comes from
// what Go itself has noted in them.
var version = unknownVersion

func init() {
	if info, ok := debug.ReadBuildInfo(); ok && version == unknownVersion {
		version = versionOf(info)
	}
}

// shortRevision and pseudoRevision are how many digits of a commit the Makefile shows, and how many Go puts into the
// version of a commit without a tag.
const shortRevision, pseudoRevision = 7, 12

// versionOf returns the tag or the commit that a program was built from, in the words of the Makefile.
func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return unknownVersion
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	tag := info.Main.Version
	switch tagged := tag != "" && tag != "(devel)"; {
	case len(revision) < pseudoRevision && tagged, tagged && !strings.Contains(tag, revision[:pseudoRevision]):
		return tag
	case len(revision) < pseudoRevision:
		return unknownVersion
	}
	return revision[:shortRevision] + dirty
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: wantArgs(),
		Example: "  rota version",
		RunE: func(*cobra.Command, []string) error {
			if a.format != formatTable {
				return a.printOne(jsonv1.Version{Version: version})
			}
			return a.print("rota %s\n", version)
		},
	}
}
