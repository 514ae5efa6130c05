package task

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLegibleShowsWhatIsNotText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "plain\n": "plain\n", "caf\xc3\xa9": "café", "caf\xe9": `caf\xe9`, "\xff\x00\xf0\x9f": "\\xff\x00\\xf0\\x9f",
		"\uFFFD": "\uFFFD", // which is a character, too
	} {
		require.Equal(t, want, Legible(in))
	}
}

func TestWholeRunesRemovesOnlyACharacterThatWasCut(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "plain": "plain", "café": "café", "caf\xc3": "caf", "\xf0\x9f\x98": "", "a\xf0\x9f": "a", "a\xff": "a",
		"\xffa": "\xffa", "a\x80\x80\x80\x80": "a\x80\x80\x80\x80", "\uFFFD": "\uFFFD",
	} {
		require.Equal(t, want, WholeRunes(in), "%q", in)
	}
}
