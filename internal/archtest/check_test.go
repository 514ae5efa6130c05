package archtest

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// rules are what check holds a repository to.
type rules struct {
	layers []layer
	// entry is the folder that nobody imports, not even tests.
	entry         string
	testLibraries []string
	testSupport   []string
	maxLines      int
	vagueNames    []string
	// packageTexts are the names of files that tell what a package is for: a text may speak of them
	// without meaning a certain one.
	packageTexts []string
}

// A repository is what check judges: files in memory and the import graph.
type repository struct {
	// module is the module path, which own imports begin with.
	module string
	pkgs   []pkg
	// imports is the import graph of everything linked, by import path.
	imports map[string][]string
	// files are the paths of all files and folders, relative to the root, with slashes.
	files map[string]bool
	// texts are the documents beside the code.
	texts []text
}

// A text is a document in Markdown.
type text struct {
	// path is relative to the root, with slashes.
	path string
	src  []byte
}

// A pkg is one folder with Go files.
type pkg struct {
	// dir is relative to the root, with slashes.
	dir string
	// nested says that the folder belongs to another module inside the repository: its imports are not checked, its
	// names and file lengths are.
	nested bool
	// documented says that the folder has a file that says what the package is for.
	documented bool
	files      []file
}

type file struct {
	name string
	src  []byte
}

func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// check returns every violation as "file:line: what is wrong; what to do".
func check(r rules, repo repository) []string {
	c := &checker{rules: r, repo: repo}
	for _, p := range repo.pkgs {
		c.checkPackage(p)
	}
	for _, t := range repo.texts {
		c.checkText(t)
	}
	return c.found
}

// checkRows returns the rows of the rules that name a folder without Go files: they check nothing, and readers would
// believe that they do.
func checkRows(r rules, repo repository) []string {
	c := &checker{rules: r, repo: repo}
	rows := slices.Concat([]string{r.entry}, r.testSupport)
	for _, l := range r.layers {
		rows = append(rows, l.dir)
		rows = append(rows, l.own...)
	}
	slices.Sort(rows)
	for _, dir := range slices.Compact(rows) {
		if !slices.ContainsFunc(repo.pkgs, func(p pkg) bool { return under(p.dir, dir) }) {
			c.report("internal/archtest/rules_test.go", "has a row for %s, which is no folder with Go files; remove it", dir)
		}
	}
	return c.found
}

type checker struct {
	rules rules
	repo  repository
	found []string
}

func (c *checker) report(where, format string, args ...any) {
	c.found = append(c.found, where+": "+fmt.Sprintf(format, args...))
}

func (c *checker) checkPackage(p pkg) {
	generated := true
	fset := token.NewFileSet()
	for _, f := range p.files {
		// The compiler reports a file that does not parse. What was parsed is checked.
		parsed, _ := parser.ParseFile(fset, path.Join(p.dir, f.name), f.src,
			parser.ParseComments|parser.SkipObjectResolution)
		if parsed == nil {
			continue
		}
		handWritten := !ast.IsGenerated(parsed)
		if handWritten {
			generated = false
			c.checkLength(p, f)
		}
		c.checkName(p, f, parsed)
		if handWritten {
			c.checkComments(p, parsed, fset)
			c.checkLogging(f, parsed, fset)
		}
		if !p.nested {
			c.checkFile(p, f, parsed, fset)
		}
	}
	if p.nested {
		return
	}
	if !generated && !p.documented {
		c.report(p.dir, "has neither doc.go nor DESIGN.md; say there what the package is for, its flow and its trade-offs")
	}
	if l, ok := c.layerOf(p.dir); ok {
		c.checkLinked(p, l)
	} else {
		c.report(p.dir, "is in no layer; give it a row in internal/archtest/rules_test.go")
	}
}

func (c *checker) checkLength(p pkg, f file) {
	if lines := bytes.Count(f.src, []byte("\n")); !f.isTest() && lines > c.rules.maxLines {
		c.report(path.Join(p.dir, f.name), "has %d lines, the limit is %d; split it by responsibility", lines, c.rules.maxLines)
	}
}

func (c *checker) checkName(p pkg, f file, parsed *ast.File) {
	name := strings.TrimSuffix(parsed.Name.Name, "_test")
	for _, n := range []string{name, path.Base(p.dir)} {
		if slices.Contains(c.rules.vagueNames, n) {
			c.report(path.Join(p.dir, f.name), "package %s has a name that says nothing; name it after what it does", n)
			return
		}
	}
}

// checkFile judges the direct imports and the references of one file.
func (c *checker) checkFile(p pkg, f file, parsed *ast.File, fset *token.FileSet) {
	l, known := c.layerOf(p.dir)
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		where := position(fset, spec)
		own, isOwn := c.ownDir(imported)
		if isOwn && under(own, c.rules.entry) && !under(p.dir, c.rules.entry) {
			c.report(where, "imports %s, which nobody may", own)
			continue
		}
		if f.isTest() || !known {
			continue
		}
		if isOwn {
			c.checkOwnImport(where, p, l, own)
		} else {
			c.checkForeignImport(where, p, l, imported)
		}
		if refused, ok := l.names[imported]; ok {
			c.checkNames(p, spec, imported, refused, parsed, fset)
		}
	}
}

func (c *checker) checkOwnImport(where string, p pkg, l layer, own string) {
	if underAny(own, c.rules.testSupport) && !underAny(p.dir, c.rules.testSupport) {
		c.report(where, "imports %s, which only tests may", own)
		return
	}
	if !under(own, l.dir) && !underAny(own, l.own) {
		c.report(where, "imports %s, but %s may import %s of this module", own, l.dir, onlyThese(l.own))
	}
}

func (c *checker) checkForeignImport(where string, p pkg, l layer, imported string) {
	switch {
	case matchAny(imported, l.refused):
		c.report(where, "imports %s, which %s must not", imported, l.dir)
	case l.stdlibOnly && !isStdlib(imported):
		c.report(where, "imports %s, but %s keeps to the standard library", imported, l.dir)
	case matchAny(imported, c.rules.testLibraries) && !underAny(p.dir, c.rules.testSupport):
		c.report(where, "imports %s outside a test", imported)
	}
}

// checkNames finds references to the refused names of one imported package.
func (c *checker) checkNames(p pkg, spec *ast.ImportSpec, imported string, refused []string, parsed *ast.File, fset *token.FileSet) {
	local := path.Base(imported)
	if spec.Name != nil {
		local = spec.Name.Name
	}
	if local == "." {
		c.report(position(fset, spec), "imports %s with a dot, which hides what it refers to", imported)
		return
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(refused, sel.Sel.Name) {
			c.report(position(fset, sel), "refers to %s.%s, which %s must not", imported, sel.Sel.Name, p.dir)
		}
		return true
	})
}

// checkLinked walks the import graph breadth first, so that the chain it reports
// is a shortest one.
func (c *checker) checkLinked(p pkg, l layer) {
	if len(l.unlinked) == 0 {
		return
	}
	start := path.Join(c.repo.module, p.dir)
	from := map[string]string{start: ""}
	reported := make(map[string]bool)
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, next := range c.repo.imports[at] {
			if _, seen := from[next]; seen {
				continue
			}
			from[next] = at
			pattern, refused := matching(next, l.unlinked)
			if !refused {
				queue = append(queue, next)
				continue
			}
			if reported[pattern] {
				continue
			}
			reported[pattern] = true
			chain := next
			for back := at; back != ""; back = from[back] {
				chain = back + " -> " + chain
			}
			c.report(p.dir, "links %s, which %s must not: %s", next, l.dir, chain)
		}
	}
}

// layerOf returns the layer with the longest dir that dir is under.
func (c *checker) layerOf(dir string) (layer, bool) {
	var best layer
	found := false
	for _, l := range c.rules.layers {
		if under(dir, l.dir) && (!found || len(l.dir) > len(best.dir)) {
			best, found = l, true
		}
	}
	return best, found
}

// ownDir returns the folder of an import of this module.
func (c *checker) ownDir(imported string) (string, bool) {
	if imported == c.repo.module {
		return ".", true
	}
	return strings.CutPrefix(imported, c.repo.module+"/")
}

func position(fset *token.FileSet, n ast.Node) string {
	at := fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", at.Filename, at.Line)
}

func under(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

func underAny(dir string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return under(dir, parent) })
}

// matching returns the pattern that an import path matches: itself, or with /... at
// the end itself and all below.
func matching(imported string, patterns []string) (string, bool) {
	for _, pattern := range patterns {
		if parent, ok := strings.CutSuffix(pattern, "/..."); ok && under(imported, parent) || imported == pattern {
			return pattern, true
		}
	}
	return "", false
}

func matchAny(imported string, patterns []string) bool {
	_, ok := matching(imported, patterns)
	return ok
}

// isStdlib goes by the rule of the go command: only other paths have a dot in
// their first element.
func isStdlib(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

func onlyThese(dirs []string) string {
	if len(dirs) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(dirs, ", ")
}
