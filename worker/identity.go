package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/rota-scheduler/rota/internal/dirlock"
	"github.com/rota-scheduler/rota/internal/sealedfile"
)

// Files in the data folder.
const (
	lockFile      = "lock"
	guardLockFile = "guard.lock"
	identityFile  = "worker.json"
	scratchFolder = "tmp"
)

// identity is who this worker is. With a data folder it outlives the process.
type identity struct {
	dir string
	// id is random; nonce differs from process to process.
	id    string
	nonce []byte
	// session is this process's session; 0: none yet. replaces is that of an earlier
	// process with this id, which has ended with all its tasks; 0: none known. Its nonce
	// proves that it was this worker's.
	session, replaces uint64
	replacesNonce     []byte

	lock, guardLock *os.File

	// mu guards session for streams of logs. Otherwise only the goroutine of the session uses it.
	mu sync.Mutex
}

// savedIdentity is the form of the identity file. Nobody else may read it: the nonce gives
// the session's rights.
type savedIdentity struct {
	WorkerID  string `json:"worker_id"`
	SessionID uint64 `json:"session_id,omitempty"`
	// Nonce is that of the process whose session it is. Without one, as builds before wrote
	// it, the next process waits for the session's lease.
	Nonce []byte `json:"nonce,omitempty"`
}

// openIdentity makes an identity, or takes up that of the data folder. One process
// at a time can do so: two with one id would take each other's tasks for their own.
func openIdentity(ctx context.Context, dir string, log *slog.Logger) (*identity, error) {
	id := &identity{dir: dir, id: hex.EncodeToString(random16()), nonce: random16()}
	if dir == "" {
		return id, nil
	}
	if err := id.lockFolder(ctx, log); err != nil {
		id.close()
		return nil, err
	}
	if err := id.load(); err != nil {
		id.close()
		return nil, err
	}
	return id, nil
}

// lockFolder makes the folder and takes both of its locks. The second one is also held by the
// guard of an earlier process while it ends what that process left behind: with it
// in hand, nothing of that process runs any more.
func (id *identity) lockFolder(ctx context.Context, log *slog.Logger) error {
	var err error
	id.lock, err = dirlock.Take(id.dir, lockFile)
	switch {
	case errors.Is(err, dirlock.ErrTaken):
		return fmt.Errorf("the data folder %s is in use by another worker process: give each worker a folder of its own", id.dir)
	case err != nil:
		return fmt.Errorf("make and lock the worker's data folder: %w", err)
	}
	id.guardLock, err = dirlock.Wait(ctx, id.dir, guardLockFile, func() {
		log.Warn("waiting for the guard of an earlier worker process to end that process's tasks", "data_dir", id.dir)
	})
	if err != nil {
		return fmt.Errorf("wait for the guard of an earlier worker process: %w", err)
	}
	return nil
}

func (id *identity) load() error {
	path := filepath.Join(id.dir, identityFile)
	saved, sealed, err := sealedfile.Read[savedIdentity](path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return id.save(0)
	case errors.Is(err, sealedfile.ErrDamaged), err == nil && (len(saved.WorkerID) == 0 || len(saved.WorkerID) > 64):
		return fmt.Errorf("the worker's identity in %s is damaged: remove the file to start as a new worker", path)
	case err != nil:
		return fmt.Errorf("read the worker's identity: %w", err)
	}
	id.id, id.replaces, id.replacesNonce = saved.WorkerID, saved.SessionID, saved.Nonce
	if !sealed {
		if err := id.save(saved.SessionID); err != nil {
			return err
		}
	}
	// What an earlier process left behind there is nobody's now.
	if err := os.RemoveAll(id.scratch()); err != nil {
		return fmt.Errorf("empty the worker's folder for temporary files: %w", err)
	}
	return nil
}

// scratch is where working directories of commands are made; empty: there is no data folder.
func (id *identity) scratch() string {
	if id.dir == "" {
		return ""
	}
	return filepath.Join(id.dir, scratchFolder)
}

// opened takes note of the session that the leader has given.
func (id *identity) opened(session uint64) error {
	id.mu.Lock()
	id.session = session
	id.mu.Unlock()
	id.replaces, id.replacesNonce = 0, nil
	return id.save(session)
}

// proof is the session, and what proves that it is this worker's.
func (id *identity) proof() (session uint64, nonce []byte) {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.session, id.nonce
}

// save writes the identity so that after a crash either the old or the new one is
// there.
func (id *identity) save(session uint64) error {
	if id.dir == "" {
		return nil
	}
	saved := savedIdentity{WorkerID: id.id, SessionID: session}
	if session != 0 {
		saved.Nonce = id.nonce
	}
	if err := sealedfile.Write(filepath.Join(id.dir, identityFile), saved); err != nil {
		return fmt.Errorf("write the worker's identity: %w", err)
	}
	return nil
}

// close lets go of the folder.
func (id *identity) close() {
	if id.guardLock != nil {
		_ = id.guardLock.Close()
	}
	if id.lock != nil {
		_ = id.lock.Close()
	}
}

func random16() []byte {
	b := make([]byte, 16)
	// Read never fails: it ends the program where the system has no randomness.
	_, _ = rand.Read(b)
	return b
}
