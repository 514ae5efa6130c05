package disk

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const (
	// maxFlips is how many bits rot at once.
	maxFlips = 8
	// searchWithin is how far behind a place a byte is looked for that somebody wrote:
	// files have room in advance, and nobody misses a bit of that.
	searchWithin = 1 << 16
)

// Files returns the files of a folder with at least so many bytes, by their names. Nobody
// may have them open.
func Files(folder string, least int64) (paths []string, err error) {
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() >= least {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for files to damage: %w", err)
	}
	return paths, nil
}

// Flip flips some bits of a file, where something is written, and returns how many.
func Flip(path string, random *rand.Rand) (flipped int64, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("flip bits: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	for range 1 + random.IntN(maxFlips) {
		at := random.Int64N(info.Size())
		some := make([]byte, min(searchWithin, info.Size()-at))
		if _, err := file.ReadAt(some, at); err != nil {
			return flipped, fmt.Errorf("flip bits: %w", err)
		}
		for i, b := range some {
			if b == 0 {
				continue
			}
			if _, err := file.WriteAt([]byte{b ^ 1<<random.IntN(8)}, at+int64(i)); err != nil {
				return flipped, fmt.Errorf("flip bits: %w", err)
			}
			flipped++
			break
		}
	}
	return flipped, nil
}

// CutShort takes a part off the end of a file, and returns how many bytes with something
// written in them that were.
func CutShort(path string, random *rand.Rand) (lost int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return 0, err
	}
	to := random.IntN(len(data))
	for _, b := range data[to:] {
		if b != 0 {
			lost++
		}
	}
	if err := os.Truncate(path, int64(to)); err != nil {
		return 0, fmt.Errorf("cut a file short: %w", err)
	}
	return lost, nil
}
