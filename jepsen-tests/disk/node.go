package disk

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a folder.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

// WrapChild implements fs.NodeWrapChilder: what is below a node of this disk is one too.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	below, ok := child.(*fs.LoopbackNode)
	if !ok {
		return child
	}
	return &node{LoopbackNode: fs.LoopbackNode{RootData: below.RootData}, disk: n.disk}
}

// path is where the node lies below.
func (n *node) path() string { return filepath.Join(n.disk.Folder, n.Path(n.Root())) }

// inode is the number of a file below; 0: there is none.
func inode(path string) uint64 {
	number, _ := lookUp(path)
	return number
}

// lookUp is inode, and says whether it is a regular file.
func lookUp(path string) (number uint64, regular bool) {
	var st syscall.Stat_t
	if syscall.Lstat(path, &st) != nil {
		return 0, false
	}
	return st.Ino, st.Mode&syscall.S_IFMT == syscall.S_IFREG
}

// Open implements fs.NodeOpener.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	path := n.path()
	// Offsets come with each write, and what a write replaces must be read.
	mode := os.O_RDWR
	if int(flags)&syscall.O_ACCMODE == os.O_RDONLY {
		mode = os.O_RDONLY
	}
	below, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	h := n.handle(below, path)
	if flags&syscall.O_TRUNC != 0 {
		if errno := h.resize(0); errno != 0 {
			below.Close()
			return nil, 0, errno
		}
	}
	opened, err := h.opened()
	if err != nil {
		below.Close()
		return nil, 0, fs.ToErrno(err)
	}
	return h, opened, 0
}

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if n.disk.full.Load() {
		n.disk.harmed.Add(1)
		return nil, nil, 0, syscall.ENOSPC
	}
	path := filepath.Join(n.path(), name)
	isNew := inode(path) == 0
	child, made, fuseFlags, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if r, ok := made.(fs.FileReleaser); ok {
		if errno := r.Release(ctx); errno != 0 {
			return nil, nil, 0, errno
		}
	}
	below, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	if isNew {
		n.disk.mu.Lock()
		n.disk.made(path, inode(path))
		n.disk.mu.Unlock()
	}
	h := n.handle(below, path)
	opened, err := h.opened()
	if err != nil {
		below.Close()
		return nil, nil, 0, fs.ToErrno(err)
	}
	return child, h, fuseFlags | opened, 0
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	path := filepath.Join(n.path(), name)
	saved, err := n.disk.save(path)
	if err != nil {
		return fs.ToErrno(err)
	}
	errno := n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 && saved != "" {
		n.disk.removed(path, saved)
	}
	return errno
}

// Rename implements fs.NodeRenamer.
func (n *node) Rename(ctx context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	newPath := filepath.Join(to.path(), newName)
	saved, err := n.disk.save(newPath)
	if err != nil {
		return fs.ToErrno(err)
	}
	errno := n.LoopbackNode.Rename(ctx, name, newParent, newName, flags)
	if errno == 0 {
		n.disk.renamed(filepath.Join(n.path(), name), newPath, saved)
	}
	return errno
}

// Setattr implements fs.NodeSetattrer.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, resizes := in.GetSize()
	if !resizes {
		// The handle's own method would bypass this node.
		return n.LoopbackNode.Setattr(ctx, nil, in, out)
	}
	h, open := f.(*handle)
	if !open {
		below, err := os.OpenFile(n.path(), os.O_RDWR, 0)
		if err != nil {
			return fs.ToErrno(err)
		}
		defer below.Close()
		h = n.handle(below, n.path())
	}
	if errno := h.resize(int64(size)); errno != 0 {
		return errno
	}
	return n.Getattr(ctx, nil, out)
}

// CopyFileRange refuses what could not be taken back.
func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.EOPNOTSUPP
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	below, opened, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	stream, ok := below.(folderStream)
	if errno != 0 || !ok {
		return below, opened, errno
	}
	return &folder{folderStream: stream, node: n}, opened, 0
}

// folderStream is what the kernel asks of an open folder.
type folderStream interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
}

// folder is an open folder.
type folder struct {
	folderStream
	node *node
}

// Fsyncdir implements fs.FileFsyncdirer.
func (f *folder) Fsyncdir(ctx context.Context, _ uint32) syscall.Errno {
	d := f.node.disk
	if errno := d.wait(ctx); errno != 0 {
		return errno
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.syncedFolder(f.node.path())
	return 0
}

// wait is what a sync has to go through. ctx ends when the process that asks for it does.
func (d *Disk) wait(ctx context.Context) syscall.Errno {
	if d.failing.Load() {
		d.harmed.Add(1)
		return syscall.EIO
	}
	if hung := d.hung.Load(); hung != nil {
		d.harmed.Add(1)
		select {
		case <-*hung:
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
	if slow := d.slow.Load(); slow > 0 {
		d.harmed.Add(1)
		// This is the fault itself: there is no condition to wait for.
		time.Sleep(time.Duration(slow))
	}
	return 0
}
