// Package network gives every server, worker and client a machine of its own, as far as
// the network goes: a network namespace, joined to the others by a switch that this
// package is.
//
// # Flow
//
// A Switch reads the packets of every host from a TUN device and writes each to the host
// that it is for, unless the Link between the two says otherwise: dropped, also in one
// direction only, lost by chance, delayed, duplicated, slowed down to a rate, or answered
// with a reset of its connection (reset.go). Host.Do runs a function inside a
// host's namespace; processes and sockets that it starts there belong to that host.
//
// # Why loopback addresses
//
// A server of Rota without TLS listens on loopback addresses only, because its connections are in plain text. So
// hosts have addresses of 127.0.0.0/8: in each namespace the loopback device gives all but 127.0.0.1 up, the TUN
// device takes the hosts' network over, and route_localnet lets the kernel route it. To the server it is loopback;
// what it sends goes through the whole TCP/IP stack of the kernel and through the switch. Proxies between the
// servers were the alternative. They end connections themselves, so a cut would not look like a real one: the
// kernel's retransmissions, its timeouts and half-open connections would be left out.
//
// # Without root
//
// Local has no namespaces and no switch: the same addresses on this machine's loopback
// device. Links cannot be cut then, which Switched says.
//
// # Trade-offs
//
// One goroutine a host moves packets, at some 100 MB/s, which is more than three servers
// on one machine send. Namespaces have no name: whatever ends this process ends them.
package network
