package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// load reads the repository at root. Packages that do not build are loaded as far
// as they can be: other tests say what is wrong with them.
func load(root string) (repository, error) {
	module, err := modulePath(filepath.Join(root, "go.mod"))
	if err != nil {
		return repository{}, err
	}
	repo := repository{module: module, files: make(map[string]bool)}
	if err := repo.readFiles(root); err != nil {
		return repository{}, err
	}
	if repo.imports, err = importGraph(root); err != nil {
		return repository{}, err
	}
	return repo, nil
}

func modulePath(gomod string) (string, error) {
	text, err := os.ReadFile(gomod)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "module" {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s has no module line", gomod)
}

// readFiles reads every Go file and every document below root, except what the go command
// ignores too: testdata and names that begin with a dot or an underscore.
func (r *repository) readFiles(root string) error {
	byDir := make(map[string]*pkg)
	var nested []string
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Removed while walking.
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if rel != "." && (d.Name() == "testdata" || strings.ContainsAny(d.Name()[:1], "._")) {
				return fs.SkipDir
			}
			r.files[rel] = true
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if d.Name() == "go.mod" && dir != "." {
			nested = append(nested, dir)
		}
		r.files[rel] = true
		isText := strings.HasSuffix(d.Name(), ".md")
		if !isText && !strings.HasSuffix(d.Name(), ".go") || strings.ContainsAny(d.Name()[:1], "._") {
			return nil
		}
		src, err := os.ReadFile(full)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if isText {
			r.texts = append(r.texts, text{path: rel, src: src})
			return nil
		}
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir, documented: isDocumented(filepath.Dir(full))}
			byDir[dir] = p
		}
		p.files = append(p.files, file{name: d.Name(), src: src})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the files: %w", err)
	}
	for _, p := range byDir {
		p.nested = underAny(p.dir, nested)
		r.pkgs = append(r.pkgs, *p)
	}
	slices.SortFunc(r.pkgs, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return nil
}

func isDocumented(dir string) bool {
	for _, name := range packageTexts {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// importGraph asks the go command for everything the module links on this system.
func importGraph(root string) (map[string][]string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+root)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	graph := make(map[string][]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&listed); errors.Is(err, io.EOF) {
			return graph, nil
		} else if err != nil {
			return nil, fmt.Errorf("decode the output of go list: %w", err)
		}
		graph[listed.ImportPath] = listed.Imports
	}
}
