package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
)

// packages are what the peers need beyond this program, as Debian calls them.
var packages = []string{"postgresql", "redis-server", "python3", "findutils"}

func depsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "deps",
		Short: "Install what the peers need, with apt-get",
		Long: "Installs " + strings.Join(packages, ", ") + " with apt-get. Debian may start services of\n" +
			"them; the benchmark uses none of these, but servers of its own in temporary folders.",
		Example: "  sudo bench deps",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			aptGet, err := exec.LookPath("apt-get")
			if err != nil {
				return errors.New("there is no apt-get here: install PostgreSQL, Redis, Python 3 and xargs by other means")
			}
			if os.Geteuid() != 0 {
				return fmt.Errorf("only root may install: run sudo apt-get install -y %s", strings.Join(packages, " "))
			}
			install := exec.CommandContext(cmd.Context(), aptGet, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
			install.Stdout, install.Stderr = os.Stderr, os.Stderr
			install.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if err := install.Run(); err != nil {
				return fmt.Errorf("apt-get install: %w; try apt-get update before", err)
			}
			return nil
		},
	}
}
