package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
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
	// Test is the test of two builds that must find it, in the place of a check; see FindByTest.
	Test string
	// Rate, TimeLimit, Interval and ServerFlags are those with which it is found within a few
	// seeds; their zero values: those of the flags.
	Rate                float64
	TimeLimit, Interval time.Duration
	ServerFlags         string

	// edits is the change.
	edits []edit
	// faults is what is changed in the whole build as well: a fault that no nemesis has, and that the product must
	// withstand.
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
	return m.build(ctx, root, dir, "rota-"+m.Name, "", append(m.faults[:len(m.faults):len(m.faults)], m.edits...))
}

// BuildWhole builds the same binary without the change that breaks it.
func (m Mutant) BuildWhole(ctx context.Context, root, dir string) (string, error) {
	return m.build(ctx, root, dir, "rota-whole", "", m.faults)
}

func (m Mutant) build(ctx context.Context, root, dir, name, tags string, edits []edit) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
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
	modules := map[string]string{}
	for source, f := range changed {
		to := filepath.Join(dir, fmt.Sprintf("%s.%d.go", name, len(replace)))
		if f.module != "" {
			// The go command replaces no file of its cache of modules: a copy of all of it is changed.
			modules[f.module] = filepath.Join(dir, name+".module")
			if err := copyModule(modules[f.module], f.root); err != nil {
				return "", err
			}
			to = filepath.Join(modules[f.module], f.file)
		} else {
			replace[source] = to
		}
		if err := os.WriteFile(to, []byte(f.text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	list, binary := filepath.Join(dir, name+".json"), filepath.Join(dir, name)
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return "", err
	}
	args := []string{"build", "-tags", tags, "-overlay", list, "-o", binary}
	if len(modules) > 0 {
		file, err := modFile(root, filepath.Join(dir, name), modules)
		if err != nil {
			return "", err
		}
		args = append(args, "-modfile", file)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/rota")...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mutant %s: %w\n%s", m.Name, err, out)
	}
	return binary, nil
}

// copyModule copies a module out of the cache, whose files are read-only.
func copyModule(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
}

// modFile writes a go.mod like the product's, with other folders for some modules.
func modFile(root, name string, modules map[string]string) (string, error) {
	for _, ending := range []string{"mod", "sum"} {
		data, err := os.ReadFile(filepath.Join(root, "go."+ending))
		if err != nil {
			return "", err
		}
		for module, folder := range modules {
			if ending == "mod" {
				data = fmt.Appendf(data, "\nreplace %s => %q\n", module, folder)
			}
		}
		if err := os.WriteFile(name+"."+ending, data, 0o600); err != nil {
			return "", err
		}
	}
	return name + ".mod", nil
}

// changedFile is a file with its edits.
type changedFile struct {
	// module has it, in the folder root; "": the product.
	module, root, file string
	text               string
}

// apply returns the changed files, by where they are. Edits of one file follow each other.
func apply(ctx context.Context, root string, edits []edit) (map[string]changedFile, error) {
	changed := map[string]changedFile{}
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
		f, known := changed[source]
		if !known {
			data, err := os.ReadFile(source)
			if err != nil {
				return nil, err
			}
			f = changedFile{e.module, dir, e.file, string(data)}
		}
		if n := strings.Count(f.text, e.old); n != 1 {
			return nil, fmt.Errorf("no longer applies: %s has %q %d times, not once", e.file, e.old, n)
		}
		f.text = strings.Replace(f.text, e.old, e.broken, 1)
		changed[source] = f
	}
	return changed, nil
}
