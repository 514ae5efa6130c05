package main

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// envAnnotation marks flags that the environment can set.
const envAnnotation = "rota-env"

// fromEnv lets an environment variable set a flag that is not given.
func fromEnv(f *pflag.FlagSet, flag, variable string) {
	f.Lookup(flag).Annotations = map[string][]string{envAnnotation: {variable}}
	f.Lookup(flag).Usage += " [" + variable + "]"
}

// settle fills in the flags that the user did not give: from the environment, or else from a
// file; or else their defaults stay. Only this function knows the order.
func settle(f *pflag.FlagSet, file *configFile, env func(string) string) error {
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			return
		}
		if names := flag.Annotations[envAnnotation]; len(names) > 0 {
			if v := env(names[0]); v != "" {
				if err := f.Set(flag.Name, v); err != nil {
					errs = append(errs, usagef("%s: %s", names[0], valueError(err, "")))
				}
				return
			}
		}
		for _, v := range file.values(flag.Name) {
			if err := f.Set(flag.Name, v.text); err != nil {
				errs = append(errs, usagef("%s, line %d: %s: %s", file.path, v.line, flag.Name, valueError(err, "")))
			}
		}
	})
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}

// configFile is a YAML file whose keys are names of flags.
type configFile struct {
	path string
	// of is what the file is for; more is the keys that are not flags.
	of   string
	more []string
	set  map[string][]configValue
}

type configValue struct {
	text string
	line int
}

func (c *configFile) values(key string) []configValue {
	if c == nil {
		return nil
	}
	return c.set[key]
}

// readConfig reads a file whose keys must be flags of f, or in more. A list gives a flag
// several values. of names what the file is for.
func readConfig(path, of string, f *pflag.FlagSet, more ...string) (*configFile, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usagef("cannot read the file for %s: %v", of, err)
	}
	defer file.Close()
	c := &configFile{path: path, of: of, more: more, set: map[string][]configValue{}}
	var doc yaml.Node
	switch err := yaml.NewDecoder(file).Decode(&doc); {
	case errors.Is(err, io.EOF):
		return c, nil
	case err != nil:
		return nil, usagef("%s is not YAML: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, usagef("%s, line %d: expected keys and values, such as node-id: n1", path, root.Line)
	}
	for i := 0; i < len(root.Content); i += 2 {
		if err := c.add(root.Content[i], root.Content[i+1], f); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *configFile) add(key, value *yaml.Node, f *pflag.FlagSet) error {
	name := key.Value
	switch flag := f.Lookup(name); {
	case flag == nil && !slices.Contains(c.more, name) || name == "config" || name == "file" || name == "help":
		return usagef("%s, line %d: unknown key %q: keys are the names of the flags of %s", c.path, key.Line, name, c.of)
	case c.set[name] != nil:
		return usagef("%s, line %d: %q is given twice", c.path, key.Line, name)
	}
	if slices.Contains(c.more, name) && value.Kind != yaml.SequenceNode {
		return usagef("%s, line %d: %q must be a list, such as [echo, hi]: rota does not split it into words", c.path, value.Line, name)
	}
	scalars := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		scalars = value.Content
	}
	c.set[name] = []configValue{}
	for _, s := range scalars {
		if s.Kind != yaml.ScalarNode || s.Tag == "!!null" {
			return usagef("%s, line %d: %q must have a value, or a list of values", c.path, s.Line, name)
		}
		c.set[name] = append(c.set[name], configValue{s.Value, s.Line})
	}
	return nil
}
