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
	for name, f := range map[string]func() error{
		"the machine is locked within a transaction":         func() error { p.machine.AppliedIndex(); return nil },
		"a transaction of the file is opened within another": func() error { _, err := p.db.Meta(); return err },
	} {
		err := p.db.view(func(*bolt.Tx) error { return f() })
		require.ErrorContains(t, err, name)
		require.NoError(t, p.db.view(func(*bolt.Tx) error { return nil }))
	}
}
