package disk

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	// maxFlips is how many bits rot at once.
	maxFlips = 8
	// block is the size of the pieces in which files are searched, bytes.
	block = 4096
	// Small is the size below which a file counts as a text, bytes.
	Small = 4096
)

// File is a file that may be damaged.
type File struct {
	Path string
	Size int64
}

// Files returns the files of a folder with at least so many bytes, by their names. Nobody
// may have them open.
func Files(folder string, least int64) (files []File, err error) {
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() >= least {
			files = append(files, File{path, info.Size()})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for files to damage: %w", err)
	}
	return files, nil
}

// Flip flips some bits of a file, only where something is written, and returns how many: files have spare room at
// their end, where a flip has no effect. In a small file it flips one bit, and the worst one: a digit stays a digit,
// or a letter a letter.
func Flip(path string, random *rand.Rand) (flipped int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("flip bits: %w", err)
	}
	blocks := written(data)
	if len(blocks) == 0 {
		return 0, nil
	}
	if len(data) < Small {
		return flipUnseen(path, data, random)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("flip bits: %w", err)
	}
	defer file.Close()
	for range 1 + random.IntN(maxFlips) {
		at := blocks[random.IntN(len(blocks))]
		at += random.IntN(min(block, len(data)-at))
		// The next byte that is not zero, around the end of the block.
		for data[at] == 0 {
			if at++; at == len(data) || at%block == 0 {
				at = (at - 1) / block * block
			}
		}
		if _, err := file.WriteAt([]byte{data[at] ^ 1<<random.IntN(8)}, int64(at)); err != nil {
			return flipped, fmt.Errorf("flip bits: %w", err)
		}
		flipped++
	}
	return flipped, nil
}

// flipUnseen flips a bit that leaves a character one of its kind, if there is one.
func flipUnseen(path string, data []byte, random *rand.Rand) (flipped int64, err error) {
	type place struct{ at, bit int }
	var unseen []place
	for at, c := range data {
		for bit := range 8 {
			if kind := kindOf(c); kind != 0 && kind == kindOf(c^1<<bit) {
				unseen = append(unseen, place{at, bit})
			}
		}
	}
	if len(unseen) == 0 {
		unseen = []place{{random.IntN(len(data)), random.IntN(8)}}
	}
	p := unseen[random.IntN(len(unseen))]
	data[p.at] ^= 1 << p.bit
	if err := os.WriteFile(path, data, 0); err != nil {
		return 0, fmt.Errorf("flip a bit: %w", err)
	}
	return 1, nil
}

// kindOf is the kind of a character; 0: none that is common.
func kindOf(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return '0'
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		return 'a'
	}
	return 0
}

// written is where the blocks begin that are not all zero.
func written(data []byte) (blocks []int) {
	for at := 0; at < len(data); at += block {
		if bytes.ContainsFunc(data[at:min(at+block, len(data))], func(r rune) bool { return r != 0 }) {
			blocks = append(blocks, at)
		}
	}
	return blocks
}

// CutShort takes a part off the end of a file, with some of what is written there, and
// returns how many bytes other than zero that were.
func CutShort(path string, random *rand.Rand) (lost int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("cut a file short: %w", err)
	}
	used := len(bytes.TrimRight(data, "\x00"))
	if used == 0 {
		return 0, nil
	}
	to := random.IntN(used)
	lost = int64(used - to - bytes.Count(data[to:used], []byte{0}))
	if err := os.Truncate(path, int64(to)); err != nil {
		return 0, fmt.Errorf("cut a file short: %w", err)
	}
	return lost, nil
}
