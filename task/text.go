package task

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Legible is a text in which bytes that are not UTF-8 stand as escapes, such as \xff. Messages and
// JSON have no other way to show them.
func Legible(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var out strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&out, `\x%02x`, text[0])
		} else {
			out.WriteString(text[:size])
		}
		text = text[size:]
	}
	return out.String()
}
