package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

const (
	// hashScript is the task for one file. It writes into a ledger when it begins and when
	// it ends, so that the tour need not trust Rota on how often each task ran. The pause
	// makes sure that tasks run when the leader is killed.
	hashScript = `echo "begin $ROTA_TASK_INDEX" >>"$LEDGER"; sleep 0.2; sha256sum "$1" && echo "end $ROTA_TASK_INDEX" >>"$LEDGER"`
	// killAt is the percentage of results after which the tour kills the leader.
	killAt = 35
	// fewestFiles and mostFiles bound the data job: the kill must fall into its middle, and
	// people want to watch it to its end.
	fewestFiles, mostFiles = 100, 3000
)

// file is one file of the data job, with the hash that was computed here.
type file struct{ path, hash string }

// demoFiles finds the files of the data job and hashes them.
func (a *app) demoFiles(ctx context.Context, dir string) ([]file, error) {
	for _, program := range []string{"sh", "sha256sum"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("the tour needs the program %s, which is not installed: install it (every common Linux has it)", program)
		}
	}
	if dir != "" {
		files, err := findFiles([]string{dir}, "")
		if err != nil {
			return nil, usagef("cannot read --files: %v", err)
		}
		if len(files) < fewestFiles {
			return nil, usagef("--files %s has %d readable files, and the tour needs %d", dir, len(files), fewestFiles)
		}
		return files, nil
	}
	if root := goRoot(ctx); root != "" {
		files, err := findFiles([]string{filepath.Join(root, "src/net"), filepath.Join(root, "src/runtime")}, ".go")
		if err == nil && len(files) >= fewestFiles {
			return files, nil
		}
	}
	for _, dir := range []string{"/usr/include", "/usr/share", "/usr/lib", "/etc"} {
		if files, err := findFiles([]string{dir}, ""); err == nil && len(files) >= fewestFiles {
			a.say("rota: no Go is installed: the tour hashes the files of %s instead", dir)
			return files, nil
		}
	}
	return nil, errors.New("no Go is installed, and no other folder has enough files to hash: name one with --files")
}

// goRoot is where the Go on the path is installed; "": there is none.
func goRoot(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// findFiles returns the readable files with a suffix in some folders and below.
func findFiles(dirs []string, suffix string) ([]file, error) {
	var files []file
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				if path == dir {
					return err
				}
				return fs.SkipDir // the tour leaves out what it cannot read
			}
			if !d.Type().IsRegular() || !strings.HasSuffix(path, suffix) || len(files) == mostFiles {
				return nil
			}
			if hash, err := hashFile(path); err == nil {
				files = append(files, file{path, hash})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashJob is the data job under way.
type hashJob struct {
	*tour
	files  []file
	ledger string
	job    *client.Job
	// came counts the results of each task.
	came  []int
	count int
	// attempts has the attempt that each task's result comes from.
	attempts []uint32
	failover *failover
}

// hashFiles hashes every file in a process of its own, kills the leader in the middle, and
// checks the results.
func (t *tour) hashFiles(ctx context.Context, files []file) error {
	t.heading("The sha256 of %d files, a process for each", len(files))
	t.line("files", fmt.Sprintf("%s ... %s", files[0].path, files[len(files)-1].path))
	h := &hashJob{
		tour: t, files: files, ledger: filepath.Join(filepath.Dir(t.cluster.Servers[0].LogFile), "ledger"),
		came: make([]int, len(files)), attempts: make([]uint32, len(files)),
	}
	payloads := func(yield func([]byte) bool) {
		for _, f := range files {
			if !yield([]byte(f.path)) {
				return
			}
		}
	}
	var err error
	h.job, err = t.client.Submit(ctx, client.Request{
		Spec: task.Spec{
			Name: "sha256", Command: []string{"sh", "-c", hashScript, "sh", placeholder}, Placeholder: placeholder,
			Env: []task.Pair{{Key: "LEDGER", Value: h.ledger}},
		},
		Payloads: payloads,
	})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := h.collect(ctx); err != nil {
		return err
	}
	t.line("finished", fmt.Sprintf("after %s", short(time.Since(start))))
	return h.judge(ctx)
}

// collect receives the results as the tasks complete, and kills the leader on the way.
func (h *hashJob) collect(ctx context.Context) error {
	defer h.bar(true)
	shown := time.Time{}
	for r, err := range h.job.AsCompleted(ctx) {
		if err != nil {
			return err
		}
		if r.State != task.Succeeded {
			return fmt.Errorf("task %d.%d %s: %s %s", h.job.ID(), r.Index, r.State, r.Error, r.Stderr)
		}
		hash, _, _ := bytes.Cut(r.Output, []byte(" "))
		if want := h.files[r.Index]; string(hash) != want.hash {
			return fmt.Errorf("the hash of %s is %s, but this process computed %s", want.path, hash, want.hash)
		}
		h.came[r.Index]++
		h.attempts[r.Index] = r.Attempt
		h.count++
		if h.failover == nil && h.count*100 >= killAt*len(h.files) {
			h.bar(true)
			if err := h.killLeader(ctx); err != nil {
				return err
			}
		}
		if time.Since(shown) > 50*time.Millisecond {
			shown = time.Now()
			h.bar(false)
		}
	}
	return nil
}

// bar draws the progress of the job on a terminal, or removes it.
func (h *hashJob) bar(remove bool) {
	if !h.outTTY {
		return
	}
	if remove {
		h.printf("\r\x1b[K")
		return
	}
	filled := h.count * barWidth / len(h.files)
	h.printf("\r\x1b[K   [%s%s]  %d of %d", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), h.count, len(h.files))
}

// runs reads from the ledger how often each task has begun and ended.
func (h *hashJob) runs() (begun, ended []int, err error) {
	f, err := os.Open(h.ledger)
	if err != nil {
		return nil, nil, fmt.Errorf("read the tasks' ledger: %w", err)
	}
	defer f.Close()
	begun, ended = make([]int, len(h.files)), make([]int, len(h.files))
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var what string
		var index int
		if _, err := fmt.Sscan(lines.Text(), &what, &index); err != nil || index < 0 || index >= len(h.files) {
			return nil, nil, fmt.Errorf("the tasks' ledger has the line %q", lines.Text())
		}
		if what == "begin" {
			begun[index]++
		} else {
			ended[index]++
		}
	}
	return begun, ended, lines.Err()
}
