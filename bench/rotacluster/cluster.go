// Package rotacluster is a cluster of real Rota processes on this machine. It is the one
// place that says where such clusters come from.
package rotacluster

import "github.com/rota-scheduler/rota/internal/localcluster"

type (
	// Config is what a cluster is made of.
	Config = localcluster.Config
	// Cluster is the processes of one cluster.
	Cluster = localcluster.Cluster
	// Process is one of them.
	Process = localcluster.Process
)

// New chooses names, ports and folders of a cluster. It starts nothing.
func New(cfg Config) (*Cluster, error) { return localcluster.New(cfg) }
