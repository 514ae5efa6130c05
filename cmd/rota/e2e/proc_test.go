package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
)

// processes returns the running processes whose environment has all of these entries,
// name=value: their numbers and command lines. A process that is dead and not reaped has no
// environment.
func processes(env ...string) []string {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		panic(err) // the pattern is malformed
	}
	var out []string
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended, or is another user's
		}
		all := append([]byte{0}, data...)
		missing := false
		for _, e := range env {
			missing = missing || !bytes.Contains(all, []byte("\x00"+e+"\x00"))
		}
		if missing {
			continue
		}
		dir := filepath.Dir(path)
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil {
			out = append(out, filepath.Base(dir)+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}
