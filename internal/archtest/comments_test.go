package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

var (
	// fileName finds what a comment calls a source file or a document.
	fileName = regexp.MustCompile(`[A-Za-z0-9_./:-]*[A-Za-z0-9_-]\.(?:go|md|proto)\b`)
	// fileInText finds source files in a document, and what it links to. It may name other documents that are made
	// only later, as reports are.
	fileInText = regexp.MustCompile(`[A-Za-z0-9_./:-]*[A-Za-z0-9_-]\.(?:go|proto)\b|\]\([A-Za-z0-9_./:-]+`)
)

// checkComments looks for the files that comments name.
func (c *checker) checkComments(p pkg, parsed *ast.File, fset *token.FileSet) {
	for _, group := range parsed.Comments {
		for _, comment := range group.List {
			if strings.HasPrefix(comment.Text, "//go:") {
				continue // An instruction to the compiler, which checks it.
			}
			names := fileName.FindAllString(strings.TrimPrefix(comment.Text, "//"), -1)
			c.checkFileNames(position(fset, comment), p.dir, names)
		}
	}
}

// checkText looks for the files that a document names, and links to, and for rows of tables that lost a cell or a line break.
func (c *checker) checkText(t text) {
	line, cells := 0, 0
	for l := range strings.Lines(string(t.src)) {
		line++
		if n := cellsOf(l); n == 0 || cells == 0 {
			cells = n
		} else if n != cells {
			c.report(fmt.Sprintf("%s:%d", t.path, line), "has a row with this many cells: %d; its table has columns: %d", n, cells)
		}
		names := fileInText.FindAllString(l, -1)
		for i, name := range names {
			names[i] = strings.TrimPrefix(name, "](")
		}
		c.checkFileNames(fmt.Sprintf("%s:%d", t.path, line), path.Dir(t.path), names)
	}
}

// cellsOf counts the cells of a line of a Markdown table; 0 for other lines. A bar divides cells in code too, unless a
// backslash stands before it.
func cellsOf(line string) int {
	if !strings.HasPrefix(line, "|") {
		return 0
	}
	return strings.Count(line, "|") - strings.Count(line, `\|`) - 1
}

// checkFileNames reports files that a text in dir names and that are not there.
func (c *checker) checkFileNames(where, dir string, names []string) {
	for _, name := range names {
		if strings.Contains(name, ":") || isForeign(name) || c.isThere(dir, name) {
			continue
		}
		c.report(where, "names %s, which is not there; say its path from this folder or from the root", name)
	}
}

// isForeign reports whether a path is that of another module, which begins with a host.
func isForeign(name string) bool {
	first, _, isPath := strings.Cut(name, "/")
	return isPath && first != "." && first != ".." && strings.Contains(first, ".")
}

// isThere reports whether a file is where a text in dir says. A path may begin in any folder above
// dir; a mere name is that of a neighbour, or of a file in the root.
func (c *checker) isThere(dir, name string) bool {
	if c.repo.files[path.Join(dir, name)] || c.repo.files[name] || slices.Contains(c.rules.packageTexts, name) {
		return true
	}
	for strings.Contains(name, "/") && dir != "." {
		dir = path.Dir(dir)
		if c.repo.files[path.Join(dir, name)] {
			return true
		}
	}
	return false
}

// loggingCalls are the methods of a logger, with how many arguments come before keys and values.
var loggingCalls = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0, "Log": 3,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
}

// checkLogging requires one name for loggers in configurations, and one key for errors in logs. So whoever sets up a
// part, or looks for an error in a log, need not know which part it is.
func (c *checker) checkLogging(f file, parsed *ast.File, fset *token.FileSet) {
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, field := range n.Fields.List {
				c.checkLoggerField(field, fset)
			}
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && !f.isTest() {
				if skip, ok := loggingCalls[sel.Sel.Name]; ok && len(n.Args) > skip {
					c.checkKeys(n.Args[skip:], fset)
				}
			}
		}
		return true
	})
}

func (c *checker) checkLoggerField(field *ast.Field, fset *token.FileSet) {
	star, ok := field.Type.(*ast.StarExpr)
	if !ok {
		return
	}
	if sel, ok := star.X.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Logger" {
		return
	}
	for _, name := range field.Names {
		if name.IsExported() && name.Name != "Logger" {
			c.report(position(fset, name), "has a logger called %s; call it Logger, as everywhere", name.Name)
		}
	}
}

// checkKeys goes by names: what is called err, or ends in Err, is an error.
func (c *checker) checkKeys(args []ast.Expr, fset *token.FileSet) {
	for i := 0; i+1 < len(args); i += 2 {
		key, isLiteral := args[i].(*ast.BasicLit)
		value, isName := args[i+1].(*ast.Ident)
		if !isLiteral || !isName || key.Value == `"error"` {
			continue
		}
		if value.Name == "err" || strings.HasSuffix(value.Name, "Err") {
			c.report(position(fset, key), `logs an error as %s; its key is "error", as everywhere`, key.Value)
		}
	}
}
