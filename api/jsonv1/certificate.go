package jsonv1

import "time"

// Certificate is a certificate in a file: an element of what rota tls prints.
type Certificate struct {
	// File is where it is, and KeyFile where its key is; KeyFile is omitted if the command has not just made it.
	File    string `json:"file"`
	KeyFile string `json:"key_file,omitempty"`
	// CA: it signs other certificates.
	CA bool `json:"ca"`
	// TrustDomain, Role and Name are who it belongs to; a CA has no role. All are "" if the certificate does not say it in
	// the way of Rota.
	TrustDomain string `json:"trust_domain"`
	Role        string `json:"role"`
	Name        string `json:"name"`
	// Hosts are the names and IP addresses that browsers take it for.
	Hosts []string `json:"hosts"`
	// Subject and Issuer are the common names of it and of the CA that has signed it.
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	// Serial is its serial number, hexadecimal.
	Serial string `json:"serial"`
	// StartsAt and ExpiresAt are when it begins and ceases to be valid.
	StartsAt  *time.Time `json:"starts_at"`
	ExpiresAt *time.Time `json:"expires_at"`
	// SHA256 is the hash of it, 64 hexadecimal digits.
	SHA256 string `json:"sha256"`
}
