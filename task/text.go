package task

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Legible replaces bytes that are not UTF-8 by escapes, such as \xff. Messages and JSON cannot show
// them otherwise.
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
