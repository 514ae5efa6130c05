// Package cluster runs the real binary on hosts that can be harmed: servers and workers
// as processes, each on a network host of its own, servers with a disk that can lose
// power.
//
// # Flow
//
// New makes hosts, disks and processes; Start starts them and waits until they serve.
// What harms them is reached through the parts: Switch for the network, Server.Disk for
// the disk, Process for kill and pause. Close ends and removes everything, whatever state
// it is in.
//
// # How servers are asked
//
// Clients of workloads dial from client hosts, so that they suffer from the network as
// users do. The harness asks a server from the server's own host (At), which no cut can
// hinder: final reads and leader watching are to see what a server has, not whether it
// can be reached.
//
// # Without root
//
// Without /dev/net/tun or /dev/fuse the hosts are this machine and the disks its folders;
// faults of the network or of disks are then skipped, and `doctor` says so.
package cluster
