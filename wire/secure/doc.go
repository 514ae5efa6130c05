// Package secure is TLS between the processes of a cluster: it loads certificates, keeps them up to date, and says who
// is at the other end of a connection.
//
// # Flow
//
// Open reads a CA bundle and, except for clients with a token, a certificate with its key. Server and Client make the
// *tls.Config of a port and of a dialler. Both allow TLS 1.3 only, and both accept a certificate if a CA of the bundle has
// signed it, if it is valid now, and if its identity fits: exactly one URI spiffe://TRUST-DOMAIN/rota/ROLE/NAME, the trust
// domain of this process, and a role that may be at that end. Names of hosts do not count, so a certificate outlives the
// addresses of its server. Browsers and curl do check the name, so certificates of servers have it as well.
//
// Run looks at the files every few seconds. It takes over what has changed once it has found the same content twice and
// all of it fits together. Otherwise what was loaded before stays in use, and one line in the log says why. Each
// handshake uses what is current then. Connections that exist go on. A bundle may have several CAs, so that a cluster can
// change its CA: add the new one everywhere, replace the certificates, remove the old one.
//
// PeerOf and FromContext say who is at the other end. An *Error says why a connection was refused and what to do about it.
//
// # Trade-offs
//
// Sessions are not resumed. A resumed session does not show its certificate again, so it would pass checks with a CA
// that was removed since. Connections here live for hours, and a full handshake costs less than a millisecond.
//
// A server leaves the chain to crypto/tls and checks the identity afterwards. This way the other end gets an alert
// that says whether its certificate has expired or its CA is unknown; after an own check of the chain it would only hear
// that the certificate is bad. A client has to check the chain itself, because crypto/tls does not check a chain without
// the name of the host.
//
// The files are read each time and compared by their hash. Their times and sizes do not tell everything: copies may keep
// the time, and volumes of containers replace a link. Together they have a few KiB.
//
// Nothing here revokes a certificate before it expires. Remove the CA that signed it, and issue the others anew; rights
// that must end sooner belong to tokens.
package secure
