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

// WholeRunes removes a character from the end of a text if a cut at a number of bytes has left only a part of it.
// What stands before it stays as it is.
func WholeRunes(text string) string {
	for k := 1; k < utf8.UTFMax && k <= len(text); k++ {
		tail := text[len(text)-k:]
		if !utf8.RuneStart(tail[0]) {
			continue
		}
		if r, size := utf8.DecodeRuneInString(tail); r == utf8.RuneError && size == 1 && tail[0] >= utf8.RuneSelf {
			return text[:len(text)-k]
		}
		break
	}
	return text
}
