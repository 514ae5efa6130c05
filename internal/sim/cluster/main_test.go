package cluster

import (
	"testing"

	"github.com/rota-scheduler/rota/internal/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
