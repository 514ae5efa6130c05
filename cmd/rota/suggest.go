package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxTypos is how many letters of an unknown flag or verb may differ from the suggested one.
const maxTypos = 2

// sameStem is how many first letters two words must share to be alike, as retry and retries are.
const sameStem = 4

// flagError explains what is wrong with the flags of a command line.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		if near := nearestFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			return usagef("%v: did you mean --%s? See %s --help", err, near, cmd.CommandPath())
		}
	}
	return usagef("%s; see %s --help", valueError(err, "--"), cmd.CommandPath())
}

// valueError says what is wrong with the value of a flag, in words for people who have never seen Go's parsers. It names
// the flag behind dashes; without dashes the caller names it.
func valueError(err error, dashes string) string {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err.Error()
	}
	name, value := "", bad.GetValue()
	if dashes != "" {
		name = dashes + bad.GetFlag().Name + " "
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Sprintf("%s%s is out of range", name, value)
	}
	var expected string
	switch bad.GetFlag().Value.Type() {
	case "duration":
		expected = "a number with its unit, such as 500ms, 30s, 5m or 2h"
	case "bool":
		expected = "true or false"
	case "int", "int32", "int64":
		expected = "a whole number"
	case "uint", "uint32", "uint64":
		expected = "a whole number, 0 or more"
	default:
		return err.Error()
	}
	return fmt.Sprintf("malformed %s%q: expected %s", name, value, expected)
}

// nearestFlag returns the flag of a command that is most like a name; "" if none is like it.
func nearestFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return nearest(names, name)
}

// nearestVerb returns the verb below a command that is most like a name; "" if none is like it.
func nearestVerb(cmd *cobra.Command, name string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return nearest(names, name)
}

func nearest(names []string, to string) (nearest string) {
	best := maxTypos + 1
	for _, name := range names {
		d := distance(to, name)
		switch {
		case len(to) > maxTypos && (strings.HasPrefix(name, to) || strings.HasPrefix(to, name)):
			d = min(d, 1)
		case len(to) >= sameStem && strings.HasPrefix(name, to[:sameStem]):
			d = min(d, maxTypos)
		}
		if d < best && d < len(to) {
			best, nearest = d, name
		}
	}
	return nearest
}

// distance is how many letters must be added, left out or replaced to make one text of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
