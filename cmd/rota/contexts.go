package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/wire"
)

const (
	// maxContexts bounds the contexts of a user, and maxContextFile the file that they are in, bytes.
	maxContexts    = 256
	maxContextFile = 1 << 20
)

// contexts are the clusters that a user works with, and the credentials for them.
type contexts struct {
	Current  string                 `yaml:"current,omitempty"`
	Contexts map[string]*cliContext `yaml:"contexts"`

	path string
}

// cliContext is one cluster.
type cliContext struct {
	Addrs     []string `yaml:"addrs"`
	CA        string   `yaml:"ca,omitempty"`
	Cert      string   `yaml:"cert,omitempty"`
	Key       string   `yaml:"key,omitempty"`
	Token     string   `yaml:"token,omitempty"`
	TokenFile string   `yaml:"token-file,omitempty"`
}

// contextsPath is where the contexts of the user are.
func (a *app) contextsPath() (string, error) {
	dir := a.env("XDG_CONFIG_HOME")
	if dir == "" || !filepath.IsAbs(dir) {
		home := a.env("HOME")
		if home == "" {
			return "", usagef("it is not known where your contexts are: set HOME, or XDG_CONFIG_HOME")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "rota", "contexts.yaml"), nil
}

// readContexts reads the contexts of the user; none if there is no file.
func (a *app) readContexts() (*contexts, error) {
	path, err := a.contextsPath()
	if err != nil {
		return nil, err
	}
	c := &contexts{path: path, Contexts: map[string]*cliContext{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, usagef("cannot read your contexts: %v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, usagef("cannot read your contexts: %v", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, usagef("%s has credentials, and others can read it: chmod 600 %s", path, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxContextFile))
	if err != nil {
		return nil, usagef("cannot read your contexts: %v", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		// The error of the decoder may show a part of a token.
		return nil, usagef("%s is no file with contexts: mend it, or remove it and use rota login", path)
	}
	for name, one := range c.Contexts {
		if one == nil || len(one.Addrs) == 0 {
			return nil, usagef("%s: the context %q has no addresses: mend it, or use rota login %s", path, name, name)
		}
	}
	return c, nil
}

// write writes the contexts. Others cannot read the file.
func (c *contexts) write() error {
	if len(c.Contexts) > maxContexts {
		return usagef("%d contexts are too many: remove one with rota context remove", len(c.Contexts))
	}
	b, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(c.path, b)
}

// get returns a context, or what is wrong with its name.
func (c *contexts) get(name string) (*cliContext, error) {
	if one := c.Contexts[name]; one != nil {
		return one, nil
	}
	return nil, usagef("there is no context %q: rota context list shows them, and rota login %s makes one", name, name)
}

// token is the access token of a context; nil if it has none.
func (c *cliContext) token() (*wire.Token, error) {
	switch {
	case c.TokenFile != "":
		return wire.FileToken(c.TokenFile)
	case c.Token != "":
		secret, err := wire.ParseSecret(c.Token)
		if err != nil {
			return nil, err
		}
		return wire.FixedToken(secret), nil
	}
	return nil, nil
}

// checkContextName says what is wrong with the name of a context.
func checkContextName(name string) error {
	if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
		return usagef("%q cannot be the name of a context: use 1 to 64 letters, digits, dots, dashes and underscores", name)
	}
	return nil
}
