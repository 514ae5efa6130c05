package mutants

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// command is the package of the binary.
const command = "github.com/rota-scheduler/rota/cmd/rota"

// product is the source of the binary and of all that it imports. Mutants are type-checked in
// memory: to build each compiles most of the product and takes minutes, this takes seconds
// and needs nothing that was built before.
type product struct {
	fset     *token.FileSet
	packages map[string]*sourcePackage
	// whole has the unchanged packages of the binary, without the bodies of their functions.
	whole map[string]*types.Package
}

// sourcePackage is a package as go list shows it.
type sourcePackage struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Module          *struct{ GoVersion string }

	// files are parsed when the package is first needed.
	files []sourceFile
}

type sourceFile struct {
	path   string
	syntax *ast.File
}

// loadProduct finds the product below root, and the rest of the standard library because a
// mutant may import what the product does not.
func loadProduct(t *testing.T, root string) *product {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Dir,GoFiles,ImportMap,Module", "./cmd/rota", "std")
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0") // as Mutant.Build
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &product{fset: token.NewFileSet(), packages: map[string]*sourcePackage{}}
	for list := json.NewDecoder(out); ; {
		s := &sourcePackage{}
		err := list.Decode(s)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		p.packages[s.ImportPath] = s
	}
	require.NoError(t, cmd.Wait())
	all := p.typecheck(nil)
	_, err = all.pkg(command)
	require.NoError(t, err)
	p.whole = all.checked
	return p
}

// compile returns the first error that the compiler would find with these files changed.
func (p *product) compile(changed map[string]changedFile) error {
	syntax := map[string]*ast.File{}
	for path, f := range changed {
		parsed, err := parser.ParseFile(p.fset, path, f.text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		syntax[path] = parsed
	}
	c := p.typecheck(syntax)
	if _, err := c.pkg(command); err != nil {
		return err
	}
	for path := range c.changed {
		return fmt.Errorf("%s: the binary is not built of this file", path)
	}
	return nil
}

// typecheck checks the packages that have changed files, and all that import those: what is
// changed may be what others rely on. Before there is a whole product it checks everything.
type typecheck struct {
	*product
	// changed are the changed files that no package has used yet.
	changed map[string]*ast.File
	// checked is by import path, and nil for a package whose imports are being checked.
	checked map[string]*types.Package
}

func (p *product) typecheck(changed map[string]*ast.File) *typecheck {
	return &typecheck{p, changed, map[string]*types.Package{"unsafe": types.Unsafe}}
}

// pkg returns a package of the changed product: that of the whole one, unless the package or
// something that it imports is changed.
func (c *typecheck) pkg(path string) (*types.Package, error) {
	if pkg, known := c.checked[path]; pkg != nil {
		return pkg, nil
	} else if known {
		return nil, fmt.Errorf("%s imports itself by way of others", path)
	}
	c.checked[path] = nil
	s := c.packages[path]
	if s == nil {
		return nil, fmt.Errorf("neither the product nor the standard library has package %s", path)
	}
	files, changed, err := c.filesOf(s)
	if err != nil {
		return nil, err
	}
	imports, stale, err := c.importsOf(s, files)
	if err != nil {
		return nil, err
	}
	pkg := c.whole[path]
	if changed || stale || pkg == nil {
		config := types.Config{Importer: imports, IgnoreFuncBodies: c.whole == nil, Sizes: types.SizesFor("gc", runtime.GOARCH)}
		if s.Module != nil && s.Module.GoVersion != "" {
			config.GoVersion = "go" + s.Module.GoVersion
		}
		if pkg, err = config.Check(path, c.fset, files, nil); err != nil {
			return nil, err
		}
	}
	c.checked[path] = pkg
	return pkg, nil
}

// filesOf returns the files of a package, and whether any of them is a changed one.
func (c *typecheck) filesOf(s *sourcePackage) (files []*ast.File, changed bool, err error) {
	if len(s.files) == 0 {
		for _, name := range s.GoFiles {
			f := sourceFile{path: filepath.Join(s.Dir, name)}
			if f.syntax, err = parser.ParseFile(c.fset, f.path, nil, parser.SkipObjectResolution); err != nil {
				return nil, false, err
			}
			s.files = append(s.files, f)
		}
	}
	for _, f := range s.files {
		if other := c.changed[f.path]; other != nil {
			delete(c.changed, f.path)
			f.syntax, changed = other, true
		}
		files = append(files, f.syntax)
	}
	return files, changed, nil
}

// importsOf returns what the files import, and whether any of it is not as in the whole product.
func (c *typecheck) importsOf(s *sourcePackage, files []*ast.File) (imports importer, stale bool, err error) {
	imports = importer{}
	for _, f := range files {
		for _, spec := range f.Imports {
			written, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return nil, false, err
			}
			path := written
			if vendored, ok := s.ImportMap[written]; ok {
				path = vendored
			}
			if imports[written], err = c.pkg(path); err != nil {
				return nil, false, err
			}
			stale = stale || imports[written] != c.whole[path]
		}
	}
	return imports, stale, nil
}

// importer is the packages that one package imports, by the paths that it writes.
type importer map[string]*types.Package

func (i importer) Import(path string) (*types.Package, error) { return i[path], nil }
