// Package machines makes several machines of one, for tests that a single network cannot do: addresses that differ, a
// cable that is pulled, files and services of each machine.
//
// # Flow
//
// New makes a LAN of machines. A machine is a set of namespaces: a network with an address on a bridge, processes, a host name, and a
// file system that begins as a copy of this machine's and keeps its own changes (overlayfs). So commands of a document run
// literally: dpkg installs, /etc/rota is the machine's own, and with Boot the first process is the systemd of this machine. ssh
// and scp are small stand-ins, which reach the other machines through a socket instead of a network (remote.go).
//
// # Trade-offs
//
// It needs root, overlayfs and the ip command. Where they are not there, New skips the test and says why.
//
// The bridge is in a network namespace of its own too. So nothing of the LAN is ever a part of this machine's network, its
// addresses may be any, and no packet can leave.
//
// Names of namespaces have the number of the test's process. What a killed test has left is removed by the next New.
package machines
