package mutants

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

const (
	// upgradePackage has the tests of two builds.
	upgradePackage = "./cmd/rota/e2e"
	// nextTag makes the build that knows a version of the log more.
	nextTag = "rotanext"
)

// FindByTest builds the broken binary and the broken next one, and runs the test of two builds that must find it. It
// returns whether it has, and what the test said. If whole is set, neither build has the change that breaks it, and
// the test must pass.
func (m Mutant) FindByTest(ctx context.Context, root, dir string, whole bool) (found bool, said string, err error) {
	edits, name := append(m.faults[:len(m.faults):len(m.faults)], m.edits...), "rota-"+m.Name
	if whole {
		edits, name = m.faults, "rota-whole"
	}
	binary, err := m.build(ctx, root, dir, name, "", edits)
	if err != nil {
		return false, "", err
	}
	next, err := m.build(ctx, root, dir, name+"-next", nextTag, edits)
	if err != nil {
		return false, "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-run", "^"+m.Test+"$", upgradePackage)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "ROTA_E2E_BINARY="+binary, "ROTA_E2E_NEXT="+next)
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return false, "", fmt.Errorf("run %s: %w", m.Test, err)
	}
	return err != nil, string(out), nil
}
