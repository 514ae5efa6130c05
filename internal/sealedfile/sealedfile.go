package sealedfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/rota-scheduler/rota/internal/atomicfile"
)

// ErrDamaged says that a file does not hold what was written to it.
var ErrDamaged = errors.New("the file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type envelope struct {
	Checksum string          `json:"crc32c"`
	Content  json.RawMessage `json:"content"`
}

// Read reads the record of a file. sealed is false where the file has no checksum because a
// version without them wrote it. An error is fs.ErrNotExist, ErrDamaged, or that of the read.
func Read[T any](path string) (record T, sealed bool, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return record, false, err
	}
	var e envelope
	content := bytes.TrimSuffix(data, []byte("\n"))
	if sealed = strictly(data, &e) == nil; sealed {
		if e.Checksum != checksum(e.Content) {
			return record, true, damaged(path, errors.New("its checksum is wrong"))
		}
		content = e.Content
	}
	if err := strictly(content, &record); err != nil {
		return record, sealed, damaged(path, err)
	}
	written, whole, err := encode(record)
	if err != nil {
		return record, sealed, err
	}
	if !bytes.Equal(written, content) || sealed && !bytes.Equal(whole, data) {
		return record, sealed, damaged(path, errors.New("it is not as it was written"))
	}
	return record, sealed, nil
}

func damaged(path string, why error) error {
	return fmt.Errorf("%w: %s: %w", ErrDamaged, path, why)
}

// Write replaces the record of a file as a whole: after a crash either the old or the new
// one is there.
func Write[T any](path string, record T) error {
	_, data, err := encode(record)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data)
}

// encode returns the content and the whole file of a record.
func encode(record any) (content, file []byte, err error) {
	if content, err = json.Marshal(record); err != nil {
		return nil, nil, err
	}
	file, err = json.Marshal(envelope{checksum(content), content})
	return content, append(file, '\n'), err
}

func checksum(content []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(content, castagnoli))
}

// strictly decodes all of data, in which there may be no unknown key.
func strictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind it")
	}
	return nil
}
