package main

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProgramThatGoInstallBuiltSaysOfWhichCommit(t *testing.T) {
	t.Parallel()
	const revision = "1a3afedc0ffee00000000000000000000000000a"
	of := func(module string, settings ...string) *debug.BuildInfo {
		b := &debug.BuildInfo{Main: debug.Module{Version: module}}
		for i := 0; i < len(settings); i += 2 {
			b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return b
	}
	for _, c := range []struct {
		want string
		info *debug.BuildInfo
	}{
		{"dev", nil},
		{"dev", of("(devel)")},
		{"dev", of("")},
		{"1a3afed", of("(devel)", "vcs.revision", revision, "vcs.modified", "false")},
		{"1a3afed-dirty", of("(devel)", "vcs.revision", revision, "vcs.modified", "true")},
		{"1a3afed", of("v0.0.0-20261129215524-1a3afedc0ffe", "vcs.revision", revision, "vcs.modified", "false")},
		{"1a3afed-dirty", of("v0.0.0-20261129215524-1a3afedc0ffe+dirty", "vcs.revision", revision, "vcs.modified", "true")},
		{"v1.2.0", of("v1.2.0", "vcs.revision", revision, "vcs.modified", "false")},
		{"v1.2.0+dirty", of("v1.2.0+dirty", "vcs.revision", revision, "vcs.modified", "true")},
		{"v1.2.0", of("v1.2.0")},
	} {
		require.Equal(t, c.want, versionOf(c.info), "%+v", c.info)
	}
}
