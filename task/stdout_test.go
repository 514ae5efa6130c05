package task_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestStandardOutputsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]task.Spec{
		"ends": {Stdout: task.StdoutEnds}, "full": {Stdout: task.StdoutFull}, "discard": {Stdout: task.StdoutDiscard},
		"file:/a:b": {Stdout: task.StdoutFile, StdoutPath: "/a:b"}, "file:": {Stdout: task.StdoutFile},
	} {
		var got task.Spec
		var err error
		got.Stdout, got.StdoutPath, err = task.ParseStdout(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, text, got.StdoutText())
	}
	for _, text := range []string{"", "all", "full:x", "file", "/dev/null", "Ends"} {
		_, _, err := task.ParseStdout(text)
		require.ErrorIs(t, err, task.ErrInvalid, text)
	}
}

func TestPathsOfStandardOutputsAreFilledIn(t *testing.T) {
	t.Parallel()
	name := func(n string) string { return "<" + n + ">" }
	for path, want := range map[string]string{
		"/plain": "/plain", "{job}.{task}/{attempt}": "<job>.<task>/<attempt>", "/{value}{value}": "/<value><value>", "/a}b": "/a}b",
	} {
		got, err := task.FillStdoutPath(path, name)
		require.NoError(t, err, path)
		require.Equal(t, want, got)
	}
	for _, path := range []string{"/{}", "/{jobs}", "/{job", "/{{job}}", "/{ task }"} {
		_, err := task.FillStdoutPath(path, name)
		require.ErrorIs(t, err, task.ErrInvalid, path)
	}
}

func TestStandardOutputsAreRefusedForWhatIsWrongWithThem(t *testing.T) {
	t.Parallel()
	command := func(change func(*task.Spec)) error {
		s := &task.Spec{Command: []string{"c"}}
		s.SetDefaults()
		change(s)
		return s.Validate()
	}
	for name, change := range map[string]func(*task.Spec){
		"none given":    func(*task.Spec) {},
		"an absolute":   func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutFile, "/out/{job}.{task}" },
		"a relative":    func(s *task.Spec) { s.Stdout, s.StdoutPath, s.Cwd = task.StdoutFile, "out", "/" },
		"what is asked": func(s *task.Spec) { s.Stdout = task.StdoutFull },
	} {
		require.NoError(t, command(change), name)
	}
	for name, change := range map[string]func(*task.Spec){
		"an unknown one":        func(s *task.Spec) { s.Stdout = 4 },
		"no file":               func(s *task.Spec) { s.Stdout = task.StdoutFile },
		"a folder":              func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutFile, "/out/" },
		"NUL":                   func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutFile, "/out\x00" },
		"a file for nothing":    func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutDiscard, "/out" },
		"a file that goes":      func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutFile, "out" },
		"an unknown name":       func(s *task.Spec) { s.Stdout, s.StdoutPath = task.StdoutFile, "/out/{id}" },
		"that of a handler":     func(s *task.Spec) { s.Command, s.Handler, s.Stdout = nil, "h", task.StdoutFull },
		"the path of a handler": func(s *task.Spec) { s.Command, s.Handler, s.StdoutPath = nil, "h", "/out" },
	} {
		require.ErrorIs(t, command(change), task.ErrInvalid, name)
	}
}
