package dirlock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// retryAfter is how often Wait asks for the lock again: the kernel has no wait that a context can end.
	retryAfter = 10 * time.Millisecond
	// slowAfter is how long a wait is too short to be worth a word.
	slowAfter = time.Second
)

// ErrTaken says that another process has the lock.
var ErrTaken = errors.New("another process has the lock")

// Take makes the folder if it is not there, and takes the lock of the file with that name in it. The caller
// closes the file to let go.
func Take(dir, name string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			err = ErrTaken
		}
		_ = f.Close()
		return nil, err
	}
}

// Wait is Take that waits for another process until ctx ends. It calls slow once if the wait takes more than a
// second.
func Wait(ctx context.Context, dir, name string, slow func()) (*os.File, error) {
	retry := time.NewTicker(retryAfter)
	defer retry.Stop()
	late := time.AfterFunc(slowAfter, slow)
	defer late.Stop()
	for {
		f, err := Take(dir, name)
		if !errors.Is(err, ErrTaken) {
			return f, err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
