package node

import (
	"errors"
	"fmt"
	"io"

	"github.com/rota-scheduler/rota/fsm"
	"github.com/rota-scheduler/rota/fsm/store"
	"github.com/rota-scheduler/rota/fsm/store/backup"
	"github.com/rota-scheduler/rota/task"
)

// Backup opens a backup of all that this server has applied. It must be closed.
func (n *Node) Backup() (*store.Backup, error) {
	err := n.state.Flush()
	switch {
	case store.IsScarce(err):
		return nil, &task.Error{Kind: task.KindUnavailable, Msg: "this server has no room on its disk for what it has applied; ask another one", Err: err}
	case err != nil:
		n.fatal(fmt.Errorf("state.db: %w", err))
		return nil, &task.Error{Kind: task.KindUnavailable, Msg: "this server must end: " + err.Error(), Err: err}
	}
	return n.state.Backup()
}

// Restore makes the data folder of a new cluster from a backup.
func Restore(file io.Reader, f *NewFolder) (made NewCluster, taken backup.Manifest, err error) {
	// Before anything is read: the file may be large.
	if err := f.check(); err != nil {
		return made, taken, err
	}
	r, err := backup.Open(file)
	if err != nil {
		return made, taken, err
	}
	defer r.Close()
	taken = r.Manifest
	if err := fsm.CheckVersion(taken.LogVersion); err != nil {
		return made, taken, err
	}
	made, err = f.build(source{cause: fsm.CauseRestore, ahead: max(0, taken.Clock.Sub(taken.TakenAt)), receive: func(dir string) (string, error) {
		path, meta, err := store.Receive(dir, r)
		if err != nil {
			return path, err
		}
		if err := r.Finish(); err != nil {
			return path, err
		}
		if meta.ClusterId != taken.ClusterID || meta.AppliedIndex != taken.Index {
			return path, fmt.Errorf("%w: it says that it is of index %d of cluster %s, and its state is of index %d of cluster %s",
				backup.ErrDamaged, taken.Index, taken.ClusterID, meta.AppliedIndex, meta.ClusterId)
		}
		return path, nil
	}})
	return made, taken, err
}

// Inspect reads a backup to its end, and says what is in it. The manifest is that of a damaged file, too, as far as it
// could be read.
func Inspect(file io.Reader) (taken backup.Manifest, err error) {
	r, err := backup.Open(file)
	if err != nil {
		return taken, err
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	if err == nil {
		err = r.Finish()
	}
	if err == nil && n != r.Manifest.StateBytes {
		err = fmt.Errorf("%w: its state has %d bytes of %d", backup.ErrDamaged, n, r.Manifest.StateBytes)
	}
	return r.Manifest, errors.Join(err)
}
