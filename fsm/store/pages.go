package store

import (
	"encoding/binary"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

// The form of bbolt's pages, which has not changed since its first release: a header of
// number (8 bytes), flags (2), count (2) and overflow (4), and elements of 16 bytes, each
// with the place of its key, counted from itself.
const (
	pageHeader  = 16
	pageElement = 16
	branchPage  = 1
	leafPage    = 2
)

// pages checks how the pages of a file hang together, from the file and not through bbolt:
// bbolt walks them in a goroutine of its own when it opens a file, takes what they say on
// trust, and ends the process where that leads out of the file.
type pages struct {
	file    *os.File
	size    int64
	end     uint64
	corrupt error
	// seen has a bit for each page that was reached.
	seen []uint64
}

// checkPages checks all pages that a transaction can reach.
func checkPages(tx *bolt.Tx, path string, corrupt error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	size := int64(tx.DB().Info().PageSize)
	end := uint64(tx.Size() / size)
	p := &pages{file: file, size: size, end: end, corrupt: corrupt, seen: make([]uint64, end/64+1)}
	// The names of the buckets are checked before bbolt follows them.
	if err := p.tree(uint64(tx.Cursor().Bucket().Root()), 0); err != nil {
		return err
	}
	return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
		if b.Root() == 0 {
			return nil // it stands within the page of its name
		}
		return p.tree(uint64(b.Root()), 0)
	})
}

// maxDepth is deeper than any tree is: a page has dozens of children.
const maxDepth = 32

func (p *pages) tree(id uint64, depth int) error {
	if depth > maxDepth || id < 2 || id >= p.end {
		return fmt.Errorf("%w: page %d of %d is reached where it should not be", p.corrupt, id, p.end)
	}
	head := make([]byte, p.size)
	if _, err := p.file.ReadAt(head, int64(id)*p.size); err != nil {
		return fmt.Errorf("read page %d: %w", id, err)
	}
	number, flags := binary.NativeEndian.Uint64(head), binary.NativeEndian.Uint16(head[8:])
	count, overflow := int64(binary.NativeEndian.Uint16(head[10:])), uint64(binary.NativeEndian.Uint32(head[12:]))
	length := int64(1+overflow) * p.size
	if number != id || id+overflow >= p.end || flags != branchPage && flags != leafPage || pageHeader+count*pageElement > length || flags == branchPage && count == 0 {
		return fmt.Errorf("%w: page %d says of itself: number %d, flags %d, %d elements, %d pages more", p.corrupt, id, number, flags, count, overflow)
	}
	for n := id; n <= id+overflow; n++ {
		if bit := uint64(1) << (n % 64); p.seen[n/64]&bit == 0 {
			p.seen[n/64] |= bit
		} else {
			return fmt.Errorf("%w: page %d is reached twice", p.corrupt, n)
		}
	}
	page := head
	if pageHeader+count*pageElement > p.size {
		page = make([]byte, pageHeader+count*pageElement)
		if _, err := p.file.ReadAt(page, int64(id)*p.size); err != nil {
			return fmt.Errorf("read page %d: %w", id, err)
		}
	}
	for i := range count {
		if err := p.element(page, id, flags, pageHeader+i*pageElement, pageHeader+count*pageElement, length, depth); err != nil {
			return err
		}
	}
	return nil
}

// element checks one element of a page, and what it leads to. It stands at at, the last one
// ends at end, and the page is as long as length.
func (p *pages) element(page []byte, id uint64, flags uint16, at, end, length int64, depth int) error {
	e := page[at : at+pageElement]
	word := func(i int) int64 { return int64(binary.NativeEndian.Uint32(e[i:])) }
	first, size := word(0), word(4)
	if flags == leafPage {
		first, size = word(4), word(8)+word(12)
	}
	if at+first < end || at+first+size > length {
		return fmt.Errorf("%w: page %d has an element that leads out of it", p.corrupt, id)
	}
	if flags == branchPage {
		return p.tree(binary.NativeEndian.Uint64(e[8:]), depth+1)
	}
	return nil
}
