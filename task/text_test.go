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
