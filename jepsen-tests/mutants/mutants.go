package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Mutant is one change that breaks a promise.
type Mutant struct {
	Name, About string
	// Check is the one that must find it, by this workload under these faults.
	Check, Workload, Nemesis string

	// file, below the root of the product, has old once, which becomes broken.
	file, old, broken string
}

// All is every mutant.
func All() []Mutant {
	return []Mutant{
		{
			"no-fsync", "the log is written and not synced", "S1", "queue", "power",
			"node/openlog.go", "MsgpackUseNewTimeFormat: true,", "MsgpackUseNewTimeFormat: true, NoSync: true,",
		},
		{
			"keys-ignored", "a request key is not looked up", "S2", "idempotent", "none",
			"fsm/submit.go", "if e, ok := m.lookupKey(s.Queue, o.Key); ok {", "if e, ok := m.lookupKey(s.Queue, o.Key); ok && false {",
		},
		{
			"cancel-ignored", "a cancel is acknowledged and forgotten", "S7", "cancel-race", "none",
			"fsm/cancel.go", "m.cancelWhere(j, reason, r, func(task.State) bool { return true })", "m.cancelWhere(j, reason, r, func(task.State) bool { return false })",
		},
		{
			"unconfirmed-reads", "a read is answered without asking whether this server still leads", "S11", "register", "pause:primaries",
			"node/reads.go", "if err := n.raft.Barrier(timeout).Error(); err != nil {", "if err := error(nil); err != nil {",
		},
		{
			"lost-leadership-fails", "a request that lost its leader is called a failure", "S17", "queue", "pause:primaries,kill",
			"node/proposer.go", `Kind: task.KindUnknownOutcome, Msg: "the leader was lost`, `Kind: task.KindUnavailable, Msg: "the leader was lost`,
		},
	}
}

// Build builds the broken binary into a folder and returns its path. root is the product's.
func (m Mutant) Build(ctx context.Context, root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, m.file)
	text, err := os.ReadFile(source)
	if err != nil {
		return "", fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("mutant %s no longer applies: %s has %q %d times, not once", m.Name, m.file, m.old, n)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	changed, overlay, binary := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "rota-"+m.Name)
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.broken, 1)), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{source: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", binary, "./cmd/rota")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mutant %s: %w\n%s", m.Name, err, out)
	}
	return binary, nil
}
