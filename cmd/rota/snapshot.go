package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/fsm/store/backup"
	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/node"
	"github.com/rota-scheduler/rota/task"
)

const (
	// backupSuffix ends the names of backups in a folder, partialPattern is those of files that are being written.
	backupSuffix   = ".backup"
	partialPattern = ".partial-*"
	// nameTime is the time in their names, UTC, so that they are in the order of time.
	nameTime = "20060102T150405Z"
	// saveTries is how often a backup is begun that is cut off: a server that sends it may be stopped, and the next one too.
	saveTries = 3
	// maxKeep bounds --keep: more is a mistake.
	maxKeep = 100_000
)

func (a *app) snapshotCmd() *cobra.Command {
	return group("snapshot", "Back up a cluster, and make a new one from a backup", a.snapshotSaveCmd(), a.snapshotInspectCmd(), a.snapshotRestoreCmd())
}

func (a *app) snapshotSaveCmd() *cobra.Command {
	var stale bool
	var keep int
	cmd := &cobra.Command{
		Use: "save FILE", Short: "Write a backup of the cluster to a file",
		Long: "Writes the state of the cluster at one moment to FILE: all jobs, results and payloads. Everything that was\n" +
			"acknowledged before is in it. FILE is there once it is whole and checked, and not before. If FILE is a\n" +
			"folder, the backup gets a name with the cluster, the time and the log index; --keep N then removes the oldest\n" +
			"backups of that cluster. With - the backup goes to standard output: check it there with snapshot inspect.\n\n" +
			"Who reads a backup reads every payload in it. Only the user who makes it may read the file.",
		Example: "  rota cluster snapshot save rota.backup\n  rota cluster snapshot save /var/backups/rota/ --keep 48",
		Args:    wantArgs("a file, a folder or -"),
		RunE: func(cmd *cobra.Command, args []string) error {
			to := saveTarget{path: args[0], keep: keep}
			if err := to.check(cmd.Flags().Changed("keep")); err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				return a.snapshotSave(ctx, c, to, client.SaveOptions{Stale: stale})
			})
		},
	}
	cmd.Flags().BoolVar(&stale, "stale", false, "take the state of the server that answers, as it is; works without a leader")
	cmd.Flags().IntVar(&keep, "keep", 0, "keep only the newest N backups of this cluster in the folder")
	return cmd
}

// saveTarget is where a backup goes.
type saveTarget struct {
	path string
	// dir: path is a folder.
	dir  bool
	keep int
}

func (t *saveTarget) check(keeps bool) error {
	info, err := os.Stat(t.path)
	t.dir = strings.HasSuffix(t.path, "/") || err == nil && info.IsDir()
	switch {
	case keeps && !t.dir:
		return usagef("--keep needs a folder, and %s is none", t.path)
	case keeps && (t.keep < 1 || t.keep > maxKeep):
		return usagef("--keep %d is out of range: use 1 to %d", t.keep, maxKeep)
	}
	return nil
}

func (a *app) snapshotSave(ctx context.Context, c *client.Client, to saveTarget, opts client.SaveOptions) error {
	if to.path == "-" {
		_, err := c.SaveSnapshot(ctx, a.out, opts)
		return err
	}
	dir := to.path
	if !to.dir {
		dir = filepath.Dir(to.path)
	}
	file, taken, err := a.savedIn(ctx, c, dir, opts)
	if err != nil {
		return err
	}
	path := to.path
	if to.dir {
		path = filepath.Join(dir, fmt.Sprintf("%s%s-%d%s", namesOf(taken.ClusterID), taken.TakenAt.Format(nameTime), taken.Index, backupSuffix))
	}
	if err := atomicfile.Rename(file, path); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	if to.keep > 0 {
		if err := removeOldest(dir, taken.ClusterID, to.keep); err != nil {
			a.say("rota: the backup is at %s, but old ones were not removed: %v", path, err)
		}
	}
	return a.showSnapshot(path, taken)
}

// namesOf is how the names of a cluster's backups begin.
func namesOf(clusterID string) string { return "rota-" + clusterID + "-" }

// saveTo writes a backup to a file. If the server that sends it is lost, another one begins anew.
func (a *app) saveTo(ctx context.Context, c *client.Client, f *os.File, opts client.SaveOptions) (err error) {
	for range saveTries {
		var n int64
		if n, err = c.SaveSnapshot(ctx, f, opts); err == nil || n == 0 || !errors.Is(err, task.ErrUnavailable) {
			return err
		}
		a.say("rota: %v; it begins anew", err)
		if _, sought := f.Seek(0, io.SeekStart); sought != nil {
			return errors.Join(err, sought)
		}
		if cut := f.Truncate(0); cut != nil {
			return errors.Join(err, cut)
		}
	}
	return err
}

// savedIn writes a backup to a file of a passing name in a folder, and syncs it.
func (a *app) savedIn(ctx context.Context, c *client.Client, dir string, opts client.SaveOptions) (path string, taken backup.Manifest, err error) {
	f, err := os.CreateTemp(dir, partialPattern)
	if err != nil {
		return "", taken, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := a.saveTo(ctx, c, f, opts); err != nil {
		return "", taken, err
	}
	if err := f.Sync(); err != nil {
		return "", taken, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", taken, err
	}
	r, err := backup.Open(f)
	if err != nil {
		return "", taken, err
	}
	defer r.Close()
	return f.Name(), r.Manifest, nil
}

// removeOldest removes all backups of a cluster in a folder but the newest.
func removeOldest(dir, clusterID string, keep int) error {
	found, err := filepath.Glob(filepath.Join(dir, namesOf(clusterID)+"*"+backupSuffix))
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b string) int {
		timeA, indexA, _ := strings.Cut(filepath.Base(a)[len(namesOf(clusterID)):], "-")
		timeB, indexB, _ := strings.Cut(filepath.Base(b)[len(namesOf(clusterID)):], "-")
		// Several may be of the same second, and of two indexes the longer one is the higher one.
		return cmp.Or(cmp.Compare(timeA, timeB), cmp.Compare(len(indexA), len(indexB)), cmp.Compare(indexA, indexB))
	})
	for _, old := range found[:max(0, len(found)-keep)] {
		err = errors.Join(err, os.Remove(old))
	}
	return err
}

func (a *app) snapshotInspectCmd() *cobra.Command {
	return &cobra.Command{
		Use: "inspect FILE", Short: "Check a backup and show what is in it",
		Long:    "Reads a backup to its end, checks it, and shows what is in it. - is standard input. The exit code is 1 if the\nfile is damaged or not whole.",
		Example: "  rota cluster snapshot inspect rota.backup\n  rota cluster snapshot inspect rota.backup -o json",
		Args:    wantArgs("a file or -"),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			taken, err := node.Inspect(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return a.showSnapshot(args[0], taken)
		},
	}
}

// openBackup opens a file, or standard input.
func (a *app) openBackup(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(a.in), nil
	}
	return os.Open(path)
}

// showSnapshot prints what is in a backup.
func (a *app) showSnapshot(file string, m backup.Manifest) error {
	s := snapshotJSON(file, m)
	if a.format != formatTable {
		return a.printOne(s)
	}
	return a.fields([][2]string{
		{"File", s.File},
		{"Bytes", fmt.Sprintf("%d, %d without compression", s.Bytes, s.StateBytes)},
		{"Taken at", m.TakenAt.Format(time.RFC3339)},
		{"Taken by", s.NodeID + ", " + s.Version},
		{"Cluster", s.ClusterID},
		{"Incarnation", s.Incarnation},
		{"Servers", strings.Join(s.Servers, ", ")},
		{"Index", fmt.Sprintf("%d, term %d", s.Index, s.Term)},
		{"Digest", s.Digest},
		{"Log version", fmt.Sprint(s.LogVersion)},
		{"Jobs", fmt.Sprintf("%d, %d unfinished", s.Jobs, s.UnfinishedJobs)},
		{"Request keys", fmt.Sprint(s.RequestKeys)},
		{"Workers", fmt.Sprint(s.Sessions)},
		{"Next", fmt.Sprintf("job %d, token %d", s.NextJob, s.NextToken)},
	}...)
}

func snapshotJSON(file string, m backup.Manifest) jsonv1.Snapshot {
	s := jsonv1.Snapshot{
		File: file, TakenAt: jsonv1.Time(m.TakenAt), NodeID: m.NodeID, Version: m.Version, ClusterID: m.ClusterID, Incarnation: m.Incarnation,
		Index: m.Index, Term: m.Term, EntryAt: jsonv1.Time(m.Clock), Digest: m.Digest, LogVersion: m.LogVersion, StateFormat: m.StateFormat,
		Jobs: m.Jobs, UnfinishedJobs: m.UnfinishedJobs, RequestKeys: m.RequestKeys, Sessions: m.Sessions,
		NextJob: m.NextJob, NextToken: m.NextToken, Servers: jsonv1.List(m.Servers), StateBytes: uint64(m.StateBytes),
	}
	if info, err := os.Stat(file); err == nil {
		s.Bytes = uint64(info.Size())
	}
	return s
}
