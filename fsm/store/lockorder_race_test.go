//go:build race

package store

import (
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

func TestTheWrongOrderOfLocksIsFound(t *testing.T) {
	t.Parallel()
	b := newFilled(t)
	p := b.s.pair.Load()
	for name, f := range map[string]func(){
		"the machine is locked within a transaction":         func() { p.machine.AppliedIndex() },
		"a transaction of the file is opened within another": func() { p.db.Size() },
	} {
		err := p.db.view(func(*bolt.Tx) error { f(); return nil })
		require.ErrorContains(t, err, name)
		require.NoError(t, p.db.view(func(*bolt.Tx) error { return nil }))
	}
}
