package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible makes text safe to show. All text in tables, messages and errors goes through it: names, labels
// and errors come from others, and a terminal obeys what it gets. It writes what is not printable as an
// escape of Go: the escape character, ends of lines, marks that turn the direction of text. What tasks print
// does not go through it: rota passes that on byte for byte. JSON has escapes of its own.
func visible(text string) string {
	if strings.IndexFunc(text, isHidden) < 0 {
		return text
	}
	var out strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case isHidden(r):
			quoted := strconv.QuoteRuneToASCII(r)
			out.WriteString(quoted[1 : len(quoted)-1])
		default:
			out.WriteString(text[:size])
		}
		text = text[size:]
	}
	return out.String()
}

func isHidden(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }

// visibly formats text for people: it makes the text of the arguments visible.
func visibly(format string, args ...any) string {
	shown := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			shown[i] = visible(v)
		case error:
			shown[i] = visible(v.Error())
		case fmt.Stringer:
			shown[i] = visible(v.String())
		default:
			shown[i] = v
		}
	}
	return fmt.Sprintf(format, shown...)
}
