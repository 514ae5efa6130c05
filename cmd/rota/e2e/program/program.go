package program

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// buildTimeout bounds the build of the binary, on a machine that has built nothing yet.
const buildTimeout = 5 * time.Minute

// build returns the path of the binary to test: the one that ROTA_E2E_BINARY names, or
// one that is built in a folder, as releases are made: without cgo.
func build(dir string) (string, error) {
	if path := os.Getenv("ROTA_E2E_BINARY"); path != "" {
		return path, nil
	}
	return compile(filepath.Join(dir, "rota"))
}

// BuildNext returns the path of a build that knows one version of the log more: the one that
// ROTA_E2E_NEXT names, or one that is built in a folder.
func BuildNext(dir string) (string, error) {
	if path := os.Getenv("ROTA_E2E_NEXT"); path != "" {
		return path, nil
	}
	return compile(filepath.Join(dir, "rota-next"), "-tags", "rotanext")
}

// BuildBefore returns the path of the build of an earlier commit: the one that ROTA_E2E_BEFORE names, or one that is built
// in a folder from the history of the repository. "" if that history is not here, as in an archive of the sources.
func BuildBefore(dir, commit string) (string, error) {
	if path := os.Getenv("ROTA_E2E_BEFORE"); path != "" {
		return path, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	if exec.Command("git", "-C", root, "cat-file", "-e", commit+"^{commit}").Run() != nil {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	sources := filepath.Join(dir, "before")
	if err := os.Mkdir(sources, 0o700); err != nil {
		return "", err
	}
	tar := filepath.Join(dir, "before.tar")
	for _, args := range [][]string{
		{"git", "-C", root, "archive", "--output", tar, commit},
		{"tar", "-xf", tar, "-C", sources},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	return compileIn(sources, filepath.Join(dir, "rota-before"))
}

// Package returns the path of the Debian package: the one that ROTA_E2E_DEB names, or one that is built in a folder.
func Package(dir string) (string, error) {
	if path := os.Getenv("ROTA_E2E_DEB"); path != "" {
		return path, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "-C", root, "deb", "BIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the Debian package: %w\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("make deb made %q: %w", found, err)
	}
	return found[0], nil
}

// moduleRoot is the folder of the module that this test belongs to.
func moduleRoot() (string, error) {
	root, err := filepath.Abs(".")
	for err == nil && !isFile(filepath.Join(root, "go.mod")) && root != filepath.Dir(root) {
		root = filepath.Dir(root)
	}
	return root, err
}

func compile(path string, flags ...string) (string, error) { return compileIn("", path, flags...) }

// compileIn compiles the sources in a folder; "": those that this test belongs to.
func compileIn(sources, path string, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	args := append(append([]string{"build"}, flags...), "-o", path, "github.com/rota-scheduler/rota/cmd/rota")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = sources, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rota: %w\n%s", err, out)
	}
	return path, nil
}

// Test builds the binary to test, sets path to its path, and runs the tests of a package. It returns the exit
// code.
func Test(tests interface{ Run() int }, path *string) int {
	forgetOtherClusters()
	dir, err := os.MkdirTemp("", "rota-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the binary:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if *path, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return tests.Run()
}

// forgetOtherClusters removes variables from the environment that the user has set for other
// clusters.
func forgetOtherClusters() {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ROTA_") && !strings.HasPrefix(name, "ROTA_E2E_") {
			_ = os.Unsetenv(name)
		}
	}
}

// failer is a test.
type failer interface {
	Fatalf(format string, args ...any)
}

// DependOnSources makes the result of a test depend on all sources of the program and of its package. The program is not a part of the
// test's own binary, so go test would reuse an old result after a change. But go test notices which files a test
// reads.
func DependOnSources(t failer) {
	_ = os.Getenv("ROTA_E2E_BINARY")
	root, err := moduleRoot()
	if err == nil {
		err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || isFile(filepath.Join(path, "go.mod"))):
				return filepath.SkipDir // no part of the program
			case strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go"), strings.HasPrefix(path, filepath.Join(root, "deploy")):
				_, err = os.Stat(path)
			}
			return err
		})
	}
	if err != nil {
		t.Fatalf("look at the sources of the program: %v", err)
	}
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
