package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Mutant is one change that breaks a promise.
type Mutant struct {
	Name, About string
	// Check is the one that must find it, by this workload under these faults.
	Check, Workload, Nemesis string
	// Rate, TimeLimit, Interval and ServerFlags are those with which it is found within a few
	// seeds; their zero values: those of the flags.
	Rate                float64
	TimeLimit, Interval time.Duration
	ServerFlags         string

	// edits is the change.
	edits []edit
	// faults is what is changed in the whole build as well: a fault that no nemesis has, and
	// that the product must stand.
	faults []edit
}

// edit is a text that becomes another one, in a file that has it once.
type edit struct {
	// module has the file; "": the product.
	module      string
	file        string
	old, broken string
}

// Build builds the broken binary into a folder and returns its path. root is the product's.
func (m Mutant) Build(ctx context.Context, root, dir string) (string, error) {
	return m.build(ctx, root, dir, "rota-"+m.Name, append(m.faults[:len(m.faults):len(m.faults)], m.edits...))
}

// BuildWhole builds the binary that is like the broken one but for what breaks it.
func (m Mutant) BuildWhole(ctx context.Context, root, dir string) (string, error) {
	return m.build(ctx, root, dir, "rota-whole", m.faults)
}

func (m Mutant) build(ctx context.Context, root, dir, name string, edits []edit) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	changed, err := apply(ctx, root, edits)
	if err != nil {
		return "", fmt.Errorf("mutant %s %w", m.Name, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	replace := map[string]string{}
	for source, text := range changed {
		file := filepath.Join(dir, fmt.Sprintf("%s.%d.go", name, len(replace)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		if replace[source], err = filepath.Abs(file); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, name+".json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	binary, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		return "", err
	}
	if list, err = filepath.Abs(list); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", list, "-o", binary, "./cmd/rota")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mutant %s: %w\n%s", m.Name, err, out)
	}
	return binary, nil
}

// apply returns the changed files, by where they are. Edits of one file follow each other.
func apply(ctx context.Context, root string, edits []edit) (map[string]string, error) {
	changed := map[string]string{}
	for _, e := range edits {
		dir := root
		if e.module != "" {
			cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", e.module)
			cmd.Dir = root
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("needs module %s: %w", e.module, err)
			}
			dir = strings.TrimSpace(string(out))
		}
		source := filepath.Join(dir, e.file)
		text, known := changed[source]
		if !known {
			data, err := os.ReadFile(source)
			if err != nil {
				return nil, err
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("no longer applies: %s has %q %d times, not once", e.file, e.old, n)
		}
		changed[source] = strings.Replace(text, e.old, e.broken, 1)
	}
	return changed, nil
}
