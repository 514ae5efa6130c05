package task

import (
	"path/filepath"
	"slices"
	"strings"
)

// Stdout says what to do with the standard output of a command.
type Stdout uint8

// The choices. The numbers are stored and must not change.
const (
	// StdoutEnds keeps it as the result. If it has more than MaxPayload bytes, it keeps the first and
	// the last half of that. The exit code says how the task ended.
	StdoutEnds Stdout = 0
	// StdoutFull keeps it as the result, and fails the task for good at the first byte beyond
	// MaxPayload.
	StdoutFull Stdout = 1
	// StdoutDiscard keeps nothing.
	StdoutDiscard Stdout = 2
	// StdoutFile writes it to a file of the worker.
	StdoutFile Stdout = 3
)

// stdoutNames are the texts of ParseStdout, by Stdout.
var stdoutNames = [...]string{"ends", "full", "discard", "file"}

// pathNames are what may stand in braces in the path of a file.
var pathNames = []string{"job", "task", "value", "attempt"}

// Valid says whether it is one of those above.
func (s Stdout) Valid() bool { return int(s) < len(stdoutNames) }

// ParseStdout reads ends, full, discard or file:PATH.
func ParseStdout(text string) (s Stdout, path string, err error) {
	name, path, isFile := strings.Cut(text, ":")
	i := slices.Index(stdoutNames[:], name)
	if i < 0 || isFile != (Stdout(i) == StdoutFile) {
		return 0, "", Errorf(KindInvalid, "unknown standard output %q: use ends, full, discard or file:PATH", text)
	}
	return Stdout(i), path, nil
}

// StdoutText is what ParseStdout reads.
func (s *Spec) StdoutText() string {
	switch {
	case !s.Stdout.Valid():
		return "unknown"
	case s.Stdout == StdoutFile:
		return stdoutNames[StdoutFile] + ":" + s.StdoutPath
	}
	return stdoutNames[s.Stdout]
}

// FillStdoutPath replaces the names in braces in the path of a file.
func FillStdoutPath(path string, value func(name string) string) (string, error) {
	var out strings.Builder
	for rest := path; ; {
		before, behind, begins := strings.Cut(rest, "{")
		out.WriteString(before)
		if !begins {
			return out.String(), nil
		}
		name, behind, ends := strings.Cut(behind, "}")
		if !ends || !slices.Contains(pathNames, name) {
			return "", Errorf(KindInvalid, "malformed file %q for the standard output: in braces, only {job}, {task}, {value} and {attempt} can stand in it", path)
		}
		out.WriteString(value(name))
		rest = behind
	}
}

// validateStdout checks what is to become of the standard output of a command.
func (s *Spec) validateStdout() error {
	switch {
	case !s.Stdout.Valid():
		return Errorf(KindInvalid, "unknown kind %d of standard output", s.Stdout)
	case s.Stdout != StdoutFile && s.StdoutPath != "":
		return Errorf(KindInvalid, "there is a file for the standard output, which does not go there")
	case s.Stdout != StdoutFile:
		return nil
	case s.StdoutPath == "" || strings.HasSuffix(s.StdoutPath, "/") || strings.IndexByte(s.StdoutPath, 0) >= 0:
		return Errorf(KindInvalid, "%q is no file for the standard output", s.StdoutPath)
	case s.Cwd == "" && !filepath.IsAbs(s.StdoutPath):
		return Errorf(KindInvalid, "the file %q for the standard output would go with the attempt's own folder: give it an absolute path, or the job a working directory", s.StdoutPath)
	}
	_, err := FillStdoutPath(s.StdoutPath, func(string) string { return "" })
	return err
}
