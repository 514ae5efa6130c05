package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rota-scheduler/rota/jepsen-tests/checker"
	"github.com/rota-scheduler/rota/jepsen-tests/history"
	"github.com/rota-scheduler/rota/jepsen-tests/report"
)

// The files of a run.
const (
	historyFile   = "history.jsonl"
	ednFile       = "history.edn"
	resultsFile   = "results.json"
	reportFile    = "report.html"
	registersFile = "registers.html"
	ledgerFile    = "ledger"
	clusterDir    = "cluster"
)

// Judge checks a history and writes what it found into the folder of its run. command runs
// the test again.
func Judge(dir string, ops []history.Op, command string) (checker.Report, error) {
	rep, err := checker.Check(ops)
	if err != nil {
		return rep, err
	}
	for i := range rep.Results {
		if r := &rep.Results[i]; r.Name == "S11" && r.Verdict == checker.Invalid {
			if _, err := checker.WriteRegisters(ops, filepath.Join(dir, registersFile)); err != nil {
				return rep, err
			}
			r.Page = registersFile
		}
	}
	data, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return rep, err
	}
	return rep, errors.Join(
		os.WriteFile(filepath.Join(dir, resultsFile), append(data, '\n'), 0o600),
		write(filepath.Join(dir, ednFile), func(f *os.File) error { return history.WriteEDN(f, ops) }),
		write(filepath.Join(dir, reportFile), func(f *os.File) error { return report.Write(f, ops, rep, command) }),
	)
}

func write(path string, f func(*os.File) error) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return errors.Join(f(file), file.Close())
}

// Analyze checks a stored history again.
func Analyze(dir, command string) (checker.Report, error) {
	ops, err := history.ReadFile(filepath.Join(dir, historyFile))
	if err != nil {
		return checker.Report{}, err
	}
	return Judge(dir, ops, command)
}

// DropData removes the data of the servers and keeps their logs.
func DropData(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, clusterDir))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".log") {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, clusterDir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
