package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Annotations of flags.
const (
	// envAnnotation has the variable that sets a flag.
	envAnnotation = "rota-env"
	// pathAnnotation marks a flag whose value is a path.
	pathAnnotation = "rota-path"
	// sourceAnnotation has where the value of a flag came from: see source.
	sourceAnnotation = "rota-source"
)

// annotate adds an annotation to a flag.
func annotate(f *pflag.FlagSet, flag, key string, values ...string) {
	if err := f.SetAnnotation(flag, key, values); err != nil {
		panic(err) // a verb names a flag that it does not have
	}
}

// fromEnv lets an environment variable set a flag that is not given.
func fromEnv(f *pflag.FlagSet, flag, variable string) {
	annotate(f, flag, envAnnotation, variable)
	f.Lookup(flag).Usage += " [" + variable + "]"
}

// isPath marks flags that are paths. In a configuration file they are relative to the folder of that file, so that the
// folder works wherever it is copied to.
func isPath(f *pflag.FlagSet, flags ...string) {
	for _, flag := range flags {
		annotate(f, flag, pathAnnotation, "")
	}
}

// source is where the value of a flag came from.
type source struct {
	// from is one of the constants below.
	from string
	// name is the variable or the file, and line the line of the file.
	name string
	line int
}

const (
	fromDefault     = "default"
	fromFlag        = "flag"
	fromEnvironment = "environment"
	fromFile        = "file"
)

// String is the source for people.
func (s source) String() string {
	switch s.from {
	case fromEnvironment:
		return "environment " + s.name
	case fromFile:
		return fmt.Sprintf("%s, line %d", s.name, s.line)
	}
	return s.from
}

// sourceOf returns where the value of a flag came from, once it is settled.
func sourceOf(flag *pflag.Flag) source {
	if a := flag.Annotations[sourceAnnotation]; len(a) == 3 {
		line, _ := strconv.Atoi(a[2]) // written by note
		return source{a[0], a[1], line}
	}
	if flag.Changed {
		return source{from: fromFlag}
	}
	return source{from: fromDefault}
}

func note(f *pflag.FlagSet, flag string, s source) {
	annotate(f, flag, sourceAnnotation, s.from, s.name, strconv.Itoa(s.line))
}

// settle fills in the flags that the user did not give: from the environment, or else from a
// file; or else their defaults stay. Only this function knows the order.
func settle(f *pflag.FlagSet, file *configFile, env func(string) string) error {
	var errs mistakes
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			return
		}
		if names := flag.Annotations[envAnnotation]; len(names) > 0 {
			if v := env(names[0]); v != "" {
				if err := f.Set(flag.Name, v); err != nil {
					errs.add("%s: %s", names[0], valueError(err, ""))
				}
				note(f, flag.Name, source{from: fromEnvironment, name: names[0]})
				return
			}
		}
		if values := file.values(flag.Name); len(values) > 0 {
			errs = append(errs, setFrom(f, flag, file.path, values)...)
		}
	})
	return errs.err()
}

// setFrom sets a flag to the values that a file has for it.
func setFrom(f *pflag.FlagSet, flag *pflag.Flag, file string, values []configValue) (errs mistakes) {
	if _, list := flag.Value.(pflag.SliceValue); !list && values[0].listed {
		errs.add("%s, line %d: %q has one value: a list is for other keys", file, values[0].line, flag.Name)
		return errs
	}
	_, isPath := flag.Annotations[pathAnnotation]
	var texts []string
	for _, v := range values {
		text := v.text
		if isPath && text != "" && !filepath.IsAbs(text) {
			text = filepath.Join(filepath.Dir(file), text)
		}
		texts = append(texts, text)
	}
	if _, joined := flag.Value.(commaList); joined {
		texts = []string{strings.Join(texts, ",")}
	}
	for i, text := range texts {
		if err := f.Set(flag.Name, text); err != nil {
			errs.add("%s, line %d: %s: %s", file, values[i].line, flag.Name, valueError(err, ""))
		}
	}
	note(f, flag.Name, source{fromFile, file, values[0].line})
	return errs
}

// commaList is a list in one text, with commas. Given again, it replaces the one before.
type commaList struct{ text *string }

var _ pflag.SliceValue = commaList{}

func newCommaList(text *string, otherwise string) commaList {
	*text = otherwise
	return commaList{text}
}

func (c commaList) String() string        { return *c.text }
func (c commaList) Set(text string) error { *c.text = text; return nil }
func (c commaList) Type() string          { return "string" }

// Append, Replace and GetSlice make it a list for pflag.
func (c commaList) Append(text string) error { return c.Replace(append(c.GetSlice(), text)) }

func (c commaList) Replace(list []string) error { return c.Set(strings.Join(list, ",")) }

func (c commaList) GetSlice() []string {
	if *c.text == "" {
		return nil
	}
	return strings.Split(*c.text, ",")
}
