package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// maxConfigBytes bounds a configuration file. One with every key has 4 KiB.
const maxConfigBytes = 1 << 20

// mistakes are all that is wrong with a configuration.
type mistakes []error

func (m *mistakes) add(format string, args ...any) { *m = append(*m, usagef(format, args...)) }

// err returns the mistakes as an error; nil if there is none.
func (m mistakes) err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// Error names the first one, for messages of one line. config check shows all.
func (m mistakes) Error() string {
	if len(m) == 1 {
		return m[0].Error()
	}
	return fmt.Sprintf("%v (and %s)", m[0], plural(len(m)-1, "more mistake"))
}

// Unwrap returns all of them.
func (m mistakes) Unwrap() []error { return m }

// configFile is what a YAML file says of the flags of one command. Its keys are their names.
type configFile struct {
	path string
	set  map[string][]configValue
}

type configValue struct {
	text string
	line int
	// listed: it is one of a list, which may have this one only.
	listed bool
}

func (c *configFile) values(key string) []configValue {
	if c == nil {
		return nil
	}
	return c.set[key]
}

// readConfig reads a file for one command: its keys must be flags of f, or in more, which have lists. of names the
// command.
func readConfig(path, of string, f *pflag.FlagSet, more ...string) (*configFile, error) {
	root, err := readYAML(path, of)
	if err != nil {
		return nil, err
	}
	c := &configFile{path: path, set: map[string][]configValue{}}
	var errs mistakes
	for key, value := range pairs(root) {
		switch flag := f.Lookup(key.Value); {
		case isKey(flag):
			errs = append(errs, c.add(key, value)...)
		case !slices.Contains(more, key.Value):
			errs = append(errs, unknownKey(path, key, append(keysOf(f), more...), "keys are the names of the flags of "+of))
		case value.Kind != yaml.SequenceNode:
			errs.add("%s, line %d: %q must be a list, such as [echo, hi]: rota does not split it into words", path, value.Line, key.Value)
		default:
			errs = append(errs, c.add(key, value)...)
		}
	}
	return c, errs.err()
}

// readYAML reads a file and returns the mapping that it is; nil if the file is empty.
func readYAML(path, of string) (*yaml.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef("cannot read the file for %s: %v", of, err)
	}
	defer file.Close()
	// One byte more than allowed shows that there is too much.
	data, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	switch {
	case err != nil:
		return nil, usagef("cannot read the file for %s: %v", of, err)
	case len(data) > maxConfigBytes:
		return nil, usagef("%s has more than %d bytes: it is no configuration file", path, maxConfigBytes)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, next yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, usagef("%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		return nil, usagef("%s has more than one document (---): only the first one would count", path)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, usagef("%s, line %d: expected keys and values, such as node-id: n1", path, root.Line)
	}
	return root, nil
}

// pairs are the keys and values of a mapping, in their order; none for nil.
func pairs(mapping *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if mapping == nil {
			return
		}
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if !yield(mapping.Content[i], mapping.Content[i+1]) {
				return
			}
		}
	}
}

// isKey reports whether a file may have the flag as a key. The other flags say which file it is, or are not about the
// command itself.
func isKey(flag *pflag.Flag) bool {
	return flag != nil && !slices.Contains([]string{"config", "file", "help"}, flag.Name)
}

// keysOf returns the keys that a file may have for a command.
func keysOf(f *pflag.FlagSet) (names []string) {
	f.VisitAll(func(flag *pflag.Flag) {
		if isKey(flag) {
			names = append(names, flag.Name)
		}
	})
	return names
}

// unknownKey is the error for a key that is none of the known ones.
func unknownKey(path string, key *yaml.Node, known []string, rule string) error {
	text := fmt.Sprintf("%s, line %d: unknown key %q: %s", path, key.Line, key.Value, rule)
	// Another spelling, as other programs have it, is one mistake and not several.
	spelled := strings.ReplaceAll(strings.ToLower(key.Value), "_", "-")
	near := nearest(known, spelled)
	if slices.Contains(known, spelled) {
		near = spelled
	}
	if near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return usagef("%s", text)
}

// add sets a key to a value or a list of values.
func (c *configFile) add(key, value *yaml.Node) (errs mistakes) {
	name := key.Value
	if c.set[name] != nil {
		errs.add("%s, line %d: %q is given twice", c.path, key.Line, name)
		return errs
	}
	scalars, listed := []*yaml.Node{value}, value.Kind == yaml.SequenceNode
	if listed {
		scalars = value.Content
	}
	c.set[name] = []configValue{}
	for _, s := range scalars {
		if s.Kind != yaml.ScalarNode || s.Tag == "!!null" {
			errs.add("%s, line %d: %q must have a value, or a list of values", c.path, s.Line, name)
			continue
		}
		c.set[name] = append(c.set[name], configValue{s.Value, s.Line, listed})
	}
	return errs
}
