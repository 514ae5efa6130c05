package disk

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handle is an open file.
type handle struct {
	disk  *Disk
	below *os.File
	inode uint64
	path  string
}

func (n *node) handle(below *os.File, path string) *handle {
	return &handle{disk: n.disk, below: below, inode: inode(path), path: path}
}

// state is what is kept of the file, with the lock held.
func (h *handle) state() *file {
	if f := h.disk.files[h.inode]; f != nil {
		return f
	}
	return h.disk.fileOf(h.inode, h.path)
}

// Read implements fs.FileReader.
func (h *handle) Read(_ context.Context, buf []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.below.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(buf[:n]), 0
}

// Write implements fs.FileWriter.
func (h *handle) Write(_ context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	d := h.disk
	if d.failing.Load() {
		d.harmed.Add(1)
		return 0, syscall.EIO
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	size, err := h.size()
	if err != nil {
		return 0, fs.ToErrno(err)
	}
	if d.full.Load() && (offset+int64(len(data)) > size || h.hole(offset, int64(len(data)))) {
		d.harmed.Add(1)
		return 0, syscall.ENOSPC
	}
	if err := h.keep(offset, int64(len(data)), size); err != nil {
		return 0, fs.ToErrno(err)
	}
	n, err := h.below.WriteAt(data, offset)
	return uint32(n), fs.ToErrno(cmp.Or(err, h.see()))
}

// see notes that the kernel knows the file as it is now, with the lock held.
func (h *handle) see() error {
	info, err := h.below.Stat()
	if err == nil {
		h.disk.seen[h.inode] = version{info.Size(), info.ModTime()}
	}
	return err
}

// opened is the flags of an answer to open. The kernel forgets what it has of a file at each open, unless it is told
// to keep it. It must keep it while others have the file open: if it forgets a page that is being written, and reads
// it again before the write has come here, those who have mapped the file see the old page for good. But it must see
// what was done to the file from below while nobody had it open.
func (h *handle) opened() (flags uint32, err error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	before, known := h.disk.seen[h.inode]
	if err := h.see(); err != nil {
		return 0, err
	}
	if known && before == h.disk.seen[h.inode] {
		flags = fuse.FOPEN_KEEP_CACHE
	}
	return flags, nil
}

// hole says whether any of a range has no space on the disk yet. Files can be longer than what was ever written of
// them, and a write into the rest needs space like one at the end.
func (h *handle) hole(offset, length int64) bool {
	next, err := unix.Seek(int(h.below.Fd()), offset, unix.SEEK_HOLE)
	return err != nil || next < offset+length
}

// keep keeps what a write is about to replace.
func (h *handle) keep(offset, length, size int64) error {
	c := change{offset: offset, size: size}
	if offset < size {
		c.before = make([]byte, min(length, size-offset))
		if _, err := h.below.ReadAt(c.before, offset); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	f := h.state()
	f.changes = append(f.changes, c)
	return nil
}

// resize changes the length.
func (h *handle) resize(to int64) syscall.Errno {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	size, err := h.size()
	if err != nil {
		return fs.ToErrno(err)
	}
	if err := h.keep(to, max(0, size-to), size); err != nil {
		return fs.ToErrno(err)
	}
	return fs.ToErrno(cmp.Or(h.below.Truncate(to), h.see()))
}

func (h *handle) size() (int64, error) {
	info, err := h.below.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Fsync implements fs.FileFsyncer.
func (h *handle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	if errno := h.disk.wait(ctx); errno != 0 {
		return errno
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	h.disk.syncedFile(h.inode)
	return 0
}

// Flush implements fs.FileFlusher. A close syncs nothing.
func (h *handle) Flush(context.Context) syscall.Errno { return 0 }

// Release implements fs.FileReleaser.
func (h *handle) Release(context.Context) syscall.Errno { return fs.ToErrno(h.below.Close()) }

// Allocate refuses what could not be taken back.
func (h *handle) Allocate(context.Context, uint64, uint64, uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}
