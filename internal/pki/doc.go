// Package pki makes a CA, and certificates for the processes of a cluster.
//
// # Flow
//
// NewCA makes a CA for a trust domain, and LoadCA reads one from its files. Issue makes a key and a certificate with the
// identity that package secure checks: one URI with a role and a name. A server also gets the names and addresses of its
// host, which browsers and curl look at. Write puts a certificate with its key and the CA bundle into a folder.
//
// # Trade-offs
//
// Keys are ECDSA with P-256. TLS 1.3 demands it of everybody. Ed25519 would be a little quicker, but browsers do not accept
// it in certificates, and neither do programs with BoringSSL, such as the gRPC library of Python, nor the curl of macOS.
//
// A CA may sign certificates and no other CAs. Its certificate names the trust domain, so that a client that has nothing
// but the bundle knows which one to expect.
//
// Certificates are valid a few minutes before they are made, because clocks differ. None outlives its CA.
//
// Nothing is ever overwritten: the key of a CA cannot be made again. Whoever wants to replace a file moves it away first,
// or writes into another folder.
package pki
