package clock

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

//go:embed overlay/skew.go.txt
var skewSource string

// In the standard library: the function that tells the time, and the line of it that asks
// the machine. What follows it is changed in place.
const (
	nowFunction = "func Now() Time {\n"
	nowLine     = "\tsec, nsec, mono := runtimeNow()\n"
	nowSkewed   = nowLine + "\tsec, nsec = skewed(sec, nsec)\n"
)

// Available returns why no such binary can be built of the source in root; nil: it can.
func Available(root string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("no go command: %w", err)
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "rota")); err != nil {
		return fmt.Errorf("no source of the product: %w", err)
	}
	return nil
}

// building keeps builds of several tests at once from each other's files, and built is what
// this process has built.
var (
	building sync.Mutex
	built    = map[string]bool{}
)

// Build builds the package in a folder of the module in root, with these build tags, and returns the binary. It
// reuses one that was built into dir of the same commit, or by this process.
func Build(ctx context.Context, root, pkg, dir string, tags ...string) (binary string, err error) {
	building.Lock()
	defer building.Unlock()
	commit := describe(ctx, root)
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, strings.Join(slices.Concat([]string{"skewed", filepath.Base(pkg)}, tags, []string{commit}), "-"))
	if _, err := os.Stat(binary); err == nil && (built[binary] || commit != "" && !strings.HasSuffix(commit, dirty)) {
		return binary, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	overlay, err := writeOverlay(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("build a binary with a clock of its own: %w", err)
	}
	// Under another name first: half a binary must not pass for a whole one.
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-tags", strings.Join(tags, ","), "-o", binary+".new", pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a binary with a clock of its own: %w\n%s", err, out)
	}
	built[binary] = true
	return binary, os.Rename(binary+".new", binary)
}

// dirty ends the name of a commit if the work tree differs from it.
const dirty = "-dirty"

// describe names the commit of the source; "": there is none.
func describe(ctx context.Context, root string) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty="+dirty)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// writeOverlay writes the changed files, and what the go command needs to take them.
func writeOverlay(ctx context.Context, dir string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask the go command for its root: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", err
	}
	changed, err := skewNow(string(text))
	if err != nil {
		return "", err
	}
	timeFile, skewFile, overlay := filepath.Join(dir, "time.go.txt"), filepath.Join(dir, "skew.go.txt"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(library, "time.go"): timeFile, filepath.Join(library, "skew.go"): skewFile,
	}})
	if err != nil {
		return "", err
	}
	return overlay, errors.Join(
		os.WriteFile(timeFile, []byte(changed), 0o600), os.WriteFile(skewFile, []byte(skewSource), 0o600), os.WriteFile(overlay, replace, 0o600),
	)
}

// skewNow changes time.Now in the text of its file.
func skewNow(text string) (string, error) {
	head, body, found := strings.Cut(text, nowFunction)
	if !found || !strings.HasPrefix(body, nowLine) {
		return "", errors.New("time.Now of this version of Go does not begin as the overlay expects: adapt package clock to it")
	}
	return head + nowFunction + nowSkewed + strings.TrimPrefix(body, nowLine), nil
}
