package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What changes names, and taking it back. All of it is called with the lock held.

// fileOf is the state of a file by its inode.
func (d *Disk) fileOf(inode uint64, path string) *file {
	f := d.files[inode]
	if f == nil {
		f = &file{}
		d.files[inode] = f
	}
	f.path = path
	return f
}

// made notes a new file.
func (d *Disk) made(path string, inode uint64) {
	d.names = append(d.names, nameChange{
		folder: filepath.Dir(path), made: inode,
		undo: func() error {
			d.forget(path)
			return os.Remove(path)
		},
	})
}

// renamed notes that a file has another name. saved is where the one is that had the name
// before; "": there was none.
func (d *Disk) renamed(from, to, saved string) {
	d.moved(from, to)
	d.names = append(d.names, nameChange{
		folder: filepath.Dir(to),
		undo: func() error {
			if err := os.Rename(to, from); err != nil {
				return fmt.Errorf("take a rename back: %w", err)
			}
			if saved == "" {
				return nil
			}
			return os.Rename(saved, to)
		},
		keep: d.drop(saved),
	})
}

// removed notes that a file is gone, and can come back from where it is saved.
func (d *Disk) removed(path, saved string) {
	d.names = append(d.names, nameChange{
		folder: filepath.Dir(path),
		undo:   func() error { return os.Rename(saved, path) },
		keep:   d.drop(saved),
	})
}

// drop is what becomes of a file whose removal is durable. Nothing of it may be kept: its
// inode will be another file's.
func (d *Disk) drop(saved string) func() error {
	if saved == "" {
		return nil
	}
	return func() error {
		d.forget(saved)
		return os.Remove(saved)
	}
}

// save keeps a file that is about to be removed or replaced; "": there is none.
func (d *Disk) save(path string) (string, error) {
	number, regular := lookUp(path)
	if !regular {
		return "", nil
	}
	d.buried++
	saved := filepath.Join(d.grave, strconv.Itoa(d.buried))
	if err := os.Link(path, saved); err != nil {
		return "", err
	}
	if f := d.files[number]; f != nil {
		f.path = saved
	}
	return saved, nil
}

// moved follows a file or a folder to its new name.
func (d *Disk) moved(from, to string) {
	for _, f := range d.files {
		if f.path == from {
			f.path = to
		} else if rest, inside := strings.CutPrefix(f.path, from+"/"); inside {
			f.path = filepath.Join(to, rest)
		}
	}
}

// forget drops what is kept of the file at a path.
func (d *Disk) forget(path string) {
	for inode, f := range d.files {
		if f.path == path {
			delete(d.files, inode)
		}
	}
}

// syncedFile makes a file durable, with the name it was made under.
func (d *Disk) syncedFile(inode uint64) {
	if f := d.files[inode]; f != nil {
		f.changes = nil
	}
	d.names = deleteNames(d.names, func(n nameChange) bool { return n.made == inode })
}

// syncedFolder makes the names of a folder durable.
func (d *Disk) syncedFolder(folder string) {
	d.names = deleteNames(d.names, func(n nameChange) bool { return n.folder == folder })
}

// deleteNames drops changes that cannot be taken back any more.
func deleteNames(names []nameChange, durable func(nameChange) bool) []nameChange {
	kept := names[:0]
	for _, n := range names {
		if !durable(n) {
			kept = append(kept, n)
		} else if n.keep != nil {
			// What stays behind is swept away with the disk.
			_ = n.keep()
		}
	}
	return kept
}
