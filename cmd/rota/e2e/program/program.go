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

// Build returns the path of the binary to test: the one that ROTA_E2E_BINARY names, or
// one that is built in a folder, as releases are made: without cgo.
func Build(dir string) (string, error) {
	if path := os.Getenv("ROTA_E2E_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, "rota")
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/rota-scheduler/rota/cmd/rota")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rota: %w\n%s", err, out)
	}
	return path, nil
}

// ForgetOtherClusters removes from the environment what is set there for those who use
// other clusters.
func ForgetOtherClusters() {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "ROTA_") && !strings.HasPrefix(name, "ROTA_E2E_") {
			_ = os.Unsetenv(name)
		}
	}
}
