package main

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// The processes that one configuration file is for, by the names of their sections.
const (
	serverSection = "server"
	workerSection = "worker"
)

// ownKeys are the flags that server and worker both have, and that do not mean the same. At the top of a file that is
// for both, such a key would be right for one of them at most.
var ownKeys = []string{"addr", "data-dir", "pprof"}

// process is a kind of process, as far as its configuration goes.
type process struct {
	// name is its section.
	name string
	// flags are its keys, with no values.
	flags *pflag.FlagSet
}

// processFile is a configuration file for servers and workers.
type processFile struct {
	path string
	// sections are those that the file has.
	sections []string
	// of is what it says to each process, by name.
	of map[string]*configFile
}

// readProcessFile reads a file whose top has keys for all processes that know them, and a section for each process, which
// goes before the top. It checks all sections, whoever reads it.
func readProcessFile(path string, all []process) (*processFile, error) {
	root, err := readYAML(path, "servers and workers")
	if err != nil {
		return nil, err
	}
	r := processReader{all: all, file: &processFile{path: path, of: map[string]*configFile{}}, top: &configFile{path: path, set: map[string][]configValue{}}}
	for _, p := range all {
		r.file.of[p.name] = &configFile{path: path, set: map[string][]configValue{}}
	}
	for key, value := range pairs(root) {
		if slices.ContainsFunc(all, func(p process) bool { return p.name == key.Value }) {
			r.section(key, value)
		}
	}
	for key, value := range pairs(root) {
		if !slices.Contains(r.file.sections, key.Value) {
			r.atTheTop(key, value)
		}
	}
	for _, p := range all {
		for key, values := range r.top.set {
			if own := r.file.of[p.name]; own.set[key] == nil && p.flags.Lookup(key) != nil {
				own.set[key] = values
			}
		}
	}
	return r.file, r.errs.err()
}

type processReader struct {
	all  []process
	file *processFile
	top  *configFile
	errs mistakes
}

// section reads the section of a process.
func (r *processReader) section(key, value *yaml.Node) {
	path, name := r.file.path, key.Value
	if slices.Contains(r.file.sections, name) {
		r.errs.add("%s, line %d: %q is given twice", path, key.Line, name)
		return
	}
	r.file.sections = append(r.file.sections, name)
	if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
		return // a section without keys: all defaults
	}
	if value.Kind != yaml.MappingNode {
		r.errs.add("%s, line %d: expected keys and values below %s:, such as data-dir: /var/lib/rota", path, value.Line, name)
		return
	}
	own := r.all[slices.IndexFunc(r.all, func(p process) bool { return p.name == name })]
	for key, value := range pairs(value) {
		if isKey(own.flags.Lookup(key.Value)) {
			r.errs = append(r.errs, r.file.of[name].add(key, value)...)
		} else if others := r.whoHas(key.Value); len(others) > 0 {
			r.errs.add("%s, line %d: %q is a key of the %s: put it below %s:", path, key.Line, key.Value, others[0], others[0])
		} else {
			r.errs = append(r.errs, unknownKey(path, key, keysOf(own.flags), "keys below "+name+": are the names of the flags of rota "+name+" start"))
		}
	}
}

// atTheTop reads a key beside the sections.
func (r *processReader) atTheTop(key, value *yaml.Node) {
	path, name := r.file.path, key.Value
	switch who := r.whoHas(name); {
	case len(who) == 0:
		r.errs = append(r.errs, r.unknown(key))
	case len(who) > 1 && len(r.file.sections) > 0 && slices.Contains(ownKeys, name):
		r.errs.add("%s, line %d: %q does not mean the same to each process: put it below %s:", path, key.Line, name, strings.Join(who, ": or "))
	default:
		r.errs = append(r.errs, r.top.add(key, value)...)
	}
}

// unknown is the error for a key at the top that no process knows.
func (r *processReader) unknown(key *yaml.Node) error {
	var known []string
	for _, p := range r.all {
		known = append(append(known, p.name), keysOf(p.flags)...)
	}
	return unknownKey(r.file.path, key, known, "keys are the names of the flags of rota server start and rota worker start, and their sections server: and worker:")
}

// whoHas returns the names of the processes that have a key.
func (r *processReader) whoHas(key string) (names []string) {
	for _, p := range r.all {
		if isKey(p.flags.Lookup(key)) {
			names = append(names, p.name)
		}
	}
	return names
}

// forProcess returns what the file says to a process; nil if there is no file.
func (p *processFile) forProcess(name string) *configFile {
	if p == nil {
		return nil
	}
	return p.of[name]
}

// has returns the sections of the file.
func (p *processFile) has() []string {
	if p == nil {
		return nil
	}
	return p.sections
}
