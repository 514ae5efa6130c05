package main

import (
	"bytes"
	"fmt"
	"net"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
)

// configName is the name of the configuration files that tls init makes.
const configName = "rota.yaml"

// The ports and folders of servers and workers that a package has installed.
const (
	grpcPort, raftPort, httpPort = "7420", "7421", "7422"
	serverDataDir                = "/var/lib/rota/server"
	workerDataDir                = "/var/lib/rota-worker"
)

// The sections of a new configuration file, with their keys in a readable order.
type (
	newServer struct {
		NodeID          string   `yaml:"node-id"`
		DataDir         string   `yaml:"data-dir"`
		Addr            string   `yaml:"addr"`
		PeerAddr        string   `yaml:"peer-addr"`
		HTTPAddr        string   `yaml:"http-addr"`
		Advertise       string   `yaml:"advertise"`
		BootstrapExpect int      `yaml:"bootstrap-expect,omitempty"`
		Join            []string `yaml:"join"`
		newTLS          `yaml:",inline"`
	}
	newWorker struct {
		DataDir string   `yaml:"data-dir"`
		Addr    []string `yaml:"addr"`
		newTLS  `yaml:",inline"`
	}
	newTLS struct {
		CA   string `yaml:"tls-ca"`
		Cert string `yaml:"tls-cert"`
		Key  string `yaml:"tls-key"`
	}
)

func tlsKeys(role task.Role) newTLS {
	cert, key := pki.Names(role)
	return newTLS{pki.BundleFile, cert, key}
}

// writeConfigs puts a configuration file beside the certificates of each server and of the workers. Its paths are relative, so it
// is right wherever the folder is copied to.
func writeConfigs(plan []issue) error {
	addrs := serverAddrs(plan)
	for _, i := range plan {
		var content any
		switch i.Role {
		case task.RoleServer:
			// It listens on all addresses: on its own machine, its name is often 127.0.1.1.
			server := newServer{
				NodeID: i.Name, DataDir: serverDataDir, Addr: ":" + grpcPort, PeerAddr: ":" + raftPort, HTTPAddr: ":" + httpPort,
				Advertise: i.Hosts[0], Join: addrs, newTLS: tlsKeys(i.Role),
			}
			if canBootstrap(len(addrs)) {
				server.BootstrapExpect = len(addrs)
			}
			content = map[string]newServer{serverSection: server}
		case task.RoleWorker:
			content = map[string]newWorker{workerSection: {workerDataDir, addrs, tlsKeys(i.Role)}}
		default:
			continue
		}
		var text bytes.Buffer
		fmt.Fprintf(&text, "# See rota config --help. To check it: rota config check --config %s\n", configName)
		enc := yaml.NewEncoder(&text)
		enc.SetIndent(2)
		if err := enc.Encode(content); err != nil {
			return fmt.Errorf("encode a configuration: %w", err)
		}
		if err := atomicfile.Create(filepath.Join(i.dir, configName), text.Bytes()); err != nil {
			return fmt.Errorf("write a configuration: %w", err)
		}
	}
	return nil
}

// serverAddrs are the gRPC addresses of the servers that a plan makes certificates for.
func serverAddrs(plan []issue) (addrs []string) {
	for _, i := range plan {
		if i.Role == task.RoleServer {
			addrs = append(addrs, net.JoinHostPort(i.Hosts[0], grpcPort))
		}
	}
	return addrs
}

// canBootstrap reports whether so many servers may form a cluster.
func canBootstrap(servers int) bool { return servers%2 == 1 && servers <= maxBootstrap }
