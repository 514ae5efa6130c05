package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// bundle is the files of an archive, and what could not be gathered.
type bundle struct {
	made  time.Time
	files []bundleFile
	errs  []error
}

type bundleFile struct {
	name string
	data []byte
}

func newBundle() *bundle { return &bundle{made: time.Now()} }

// add adds a file, or notes why there is none. A file that is too long is cut, and says so.
func (b *bundle) add(name string, data []byte, err error) {
	if err != nil {
		b.failed(name, err)
	}
	if len(data) > maxBundleItem {
		data = data[:maxBundleItem]
		b.failed(name, fmt.Errorf("it is longer than %d MiB, and was cut", maxBundleItem>>20))
	}
	if len(data) > 0 {
		b.files = append(b.files, bundleFile{name, data})
	}
}

// addJSON adds a value as a file. With an error it may be a part, of n elements; if it has none there is no file.
func (b *bundle) addJSON(name string, v any, n int, err error) {
	if err != nil && n == 0 {
		b.failed(name, err)
		return
	}
	data, encodeErr := json.MarshalIndent(v, "", "  ")
	b.add(name, append(data, '\n'), errors.Join(err, encodeErr))
}

// failed notes what could not be gathered.
func (b *bundle) failed(name string, err error) {
	b.errs = append(b.errs, fmt.Errorf("%s: %w", name, err))
}

// write writes the archive, which only this user may read.
func (b *bundle) write(path string) error {
	readme := []byte(bundleReadme + "\nMade " + b.made.UTC().Format(time.RFC3339) + " by rota " + version + ".\n")
	files := append([]bundleFile{{"README.txt", readme}}, b.files...)
	if len(b.errs) > 0 {
		var text strings.Builder
		for _, err := range b.errs {
			fmt.Fprintln(&text, visible(err.Error()))
		}
		files = append(files, bundleFile{"errors.txt", []byte(text.String())})
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		head := &tar.Header{Name: "rota-bundle/" + f.name, Mode: 0o600, Size: int64(len(f.data)), ModTime: b.made, Format: tar.FormatPAX}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return err
	}
	err := atomicfile.Create(path, out.Bytes())
	if errors.Is(err, fs.ErrExist) {
		return usagef("%s is there already: choose another --out", path)
	}
	return err
}
