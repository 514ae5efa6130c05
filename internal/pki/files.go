package pki

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/task"
)

const (
	// BundleFile is the file with the CAs that a process trusts. In the folder of a CA it is the CA itself.
	BundleFile = "ca.crt"
	// CAKeyFile is the key of a CA.
	CAKeyFile = "ca.key"

	// folderMode, secretMode and publicMode are what others may do with the files.
	folderMode = 0o700
	secretMode = 0o600
	publicMode = 0o644

	// maxFile bounds the files of a CA, bytes.
	maxFile = 256 << 10
)

// Names are the names of the files of a certificate and its key, which say the role.
func Names(role task.Role) (cert, key string) { return string(role) + ".crt", string(role) + ".key" }

// WriteCA puts a new CA into a folder.
func (ca *CA) WriteCA(dir string) error {
	return write(dir, file{CAKeyFile, ca.Key, secretMode}, file{BundleFile, ca.Bundle, publicMode})
}

// Write puts a certificate with its key and the CA bundle into a folder, ready to be copied to where they are used.
func (ca *CA) Write(dir string, role task.Role, p Pair) error {
	cert, key := Names(role)
	return write(dir, file{key, p.Key, secretMode}, file{cert, p.Cert, publicMode}, file{BundleFile, ca.Bundle, publicMode})
}

// ReadCA reads a CA from its folder.
func ReadCA(dir string) (*CA, error) {
	bundle, err := read(filepath.Join(dir, BundleFile))
	if err != nil {
		return nil, err
	}
	key, err := read(filepath.Join(dir, CAKeyFile))
	if err != nil {
		return nil, err
	}
	ca, err := LoadCA(bundle, key)
	if err != nil {
		return nil, fmt.Errorf("read the CA in %s: %w", dir, err)
	}
	return ca, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &task.Error{Kind: task.KindNotFound, Msg: "no CA is here: make one with rota tls init or rota tls ca, or name its folder", Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("read a file of the CA: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read a file of the CA: %w", err)
	}
	if len(data) > maxFile {
		return nil, task.Errorf(task.KindTooLarge, "%s has more than %d bytes, and is no file of a CA", path, maxFile)
	}
	return data, nil
}

type file struct {
	name string
	data []byte
	mode fs.FileMode
}

// write makes files in a folder. It looks for all of them first, so that a folder that has one is left as it is.
func write(dir string, files ...file) error {
	for _, f := range files {
		if err := Absent(filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return fmt.Errorf("make a folder for certificates: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.name)
		err := atomicfile.Create(path, f.data)
		if errors.Is(err, fs.ErrExist) {
			return exists(path)
		}
		if err == nil && f.mode != secretMode {
			err = os.Chmod(path, f.mode)
		}
		if err != nil {
			return fmt.Errorf("write a certificate: %w", err)
		}
	}
	return nil
}

// Absent fails if there is something at a path.
func Absent(path string) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for an older certificate: %w", err)
	}
	return exists(path)
}

func exists(path string) error {
	return task.Errorf(task.KindConflict, "%s exists, and rota overwrites no certificate and no key: name another folder with --out, or move it away", path)
}
