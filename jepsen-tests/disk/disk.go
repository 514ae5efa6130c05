package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fuseDevice is what FUSE needs.
const fuseDevice = "/dev/fuse"

// Disk is a mounted file system.
type Disk struct {
	// Mount is where processes see it, Folder the files below.
	Mount, Folder string

	server *fuse.Server
	// grave keeps files whose removal can still be taken back.
	grave string

	full, failing atomic.Bool
	slow          atomic.Int64
	// hung, while it is there, is closed when syncs that hang may go on.
	hung atomic.Pointer[chan struct{}]
	// harmed counts calls that were refused or slowed down.
	harmed atomic.Int64

	mu     sync.Mutex
	random *rand.Rand
	files  map[uint64]*file
	// seen is files as the kernel knows them, by inode.
	seen   map[uint64]version
	names  []nameChange
	buried int
}

// version tells whether a file was changed from below since.
type version struct {
	size    int64
	changed time.Time
}

// file is what is not synced of a file.
type file struct {
	path    string
	changes []change
}

// change is a write or a change of length that can be taken back.
type change struct {
	offset int64
	// before is what stood there, as far as the file reached; size is its length then.
	before []byte
	size   int64
}

// nameChange is a file that was made, renamed or removed, and can be taken back.
type nameChange struct {
	folder string
	// made is the inode of a file that was made; 0: it was renamed or removed.
	made uint64
	undo func() error
	// keep is called once it cannot be taken back any more; may be nil.
	keep func() error
}

// Mount mounts a disk. seed decides what is torn.
func Mount(folder, mount string, seed uint64) (*Disk, error) {
	d := &Disk{
		Mount: mount, Folder: folder, grave: folder + ".removed",
		random: rand.New(rand.NewPCG(seed, 2)), files: map[uint64]*file{}, seen: map[uint64]version{},
	}
	for _, dir := range []string{folder, mount, d.grave} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make a folder of a disk: %w", err)
		}
	}
	root := &fs.LoopbackRoot{Path: folder}
	top := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = top
	never := time.Duration(0)
	server, err := fs.Mount(mount, top, &fs.Options{
		AttrTimeout: &never, EntryTimeout: &never,
		MountOptions: fuse.MountOptions{DirectMount: true, FsName: "chaos", Name: "chaos", ExplicitDataCacheControl: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a disk at %s: %w", mount, err)
	}
	d.server = server
	return d, nil
}

// unmountPatience is how long a disk may be busy: between its fork and its exec, a process that
// another test starts has all files open that this one has.
const unmountPatience = 10 * time.Second

// Unmount ends the disk. No process may have files open on it.
func (d *Disk) Unmount() error {
	d.SetHung(false)
	err := d.server.Unmount()
	for began := time.Now(); err != nil && time.Since(began) < unmountPatience; err = d.server.Unmount() {
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", d.Mount, err)
	}
	return os.RemoveAll(d.grave)
}

// SetFull makes every write fail for lack of space if it needs some: beyond the end of a file, or where nothing was
// written yet.
func (d *Disk) SetFull(on bool) { d.full.Store(on) }

// SetFailing makes every write and fsync fail.
func (d *Disk) SetFailing(on bool) { d.failing.Store(on) }

// SetSlow makes every fsync take longer by so much; 0: no more.
func (d *Disk) SetSlow(by time.Duration) { d.slow.Store(int64(by)) }

// SetHung makes every fsync wait until it is called off.
func (d *Disk) SetHung(on bool) {
	var next *chan struct{}
	if on {
		c := make(chan struct{})
		next = &c
	}
	if before := d.hung.Swap(next); before != nil {
		close(*before)
	}
}

// Harmed returns how many calls were refused or slowed down since the last time.
func (d *Disk) Harmed() int64 { return d.harmed.Swap(0) }

// PowerLoss takes back what was not synced, and returns how many changes that were. The
// processes that have files open must be dead.
func (d *Disk) PowerLoss(torn bool) (lost int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for inode, f := range d.files {
		if len(f.changes) > 0 {
			errs = append(errs, d.undo(f, torn))
			lost += int64(len(f.changes))
		}
		delete(d.files, inode)
	}
	for i := len(d.names) - 1; i >= 0; i-- {
		errs = append(errs, d.names[i].undo())
		lost++
	}
	d.names = nil
	clear(d.seen)
	return lost, errors.Join(errs...)
}

// sector is what a disk writes as a whole, bytes.
const sector = 512

// undo takes the changes of a file back.
func (d *Disk) undo(f *file, torn bool) error {
	out, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("take back what was not synced: %w", err)
	}
	defer out.Close()
	// The length is written apart from the data.
	keepLength := torn && d.random.IntN(2) == 0
	for i := len(f.changes) - 1; i >= 0; i-- {
		c := f.changes[i]
		for at := 0; at < len(c.before); at += sector {
			if torn && d.random.IntN(2) == 0 {
				continue
			}
			part := c.before[at:min(at+sector, len(c.before))]
			if _, err := out.WriteAt(part, c.offset+int64(at)); err != nil {
				return fmt.Errorf("take a write back: %w", err)
			}
		}
		if !keepLength {
			if err := out.Truncate(c.size); err != nil {
				return fmt.Errorf("take a length back: %w", err)
			}
		}
	}
	return nil
}

// Available returns why there can be no such disk here; nil: there can.
func Available() error {
	f, err := os.OpenFile(fuseDevice, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no FUSE: %w", err)
	}
	defer f.Close()
	dir, err := os.MkdirTemp("", "rota-disk-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	d, err := Mount(dir+"/below", dir+"/mount", 0)
	if err != nil {
		return err
	}
	return d.Unmount()
}
