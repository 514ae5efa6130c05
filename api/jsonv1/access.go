package jsonv1

import "time"

// Identity is who a client is to the servers: what rota whoami prints.
type Identity struct {
	// Role is admin, operator, submit, read or worker.
	Role string `json:"role"`
	// Name is that of the certificate or of the token.
	Name string `json:"name"`
	// Queues are patterns of the queues that the rights are for; none: all.
	Queues []string `json:"queues"`
	// TokenID is the id of the token; omitted if a certificate decides.
	TokenID string `json:"token_id,omitempty"`
	// ExpiresAt is when the token or the certificate expires; null: never, or it is not known.
	ExpiresAt *time.Time `json:"expires_at"`
	// Open: the servers ask nobody who they are.
	Open bool `json:"open"`
}

// AccessToken is an access token: an element of what rota token list prints, and what rota token create prints.
type AccessToken struct {
	// ID is the beginning of the hash of its text.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Role is admin, operator, submit, read or worker.
	Role string `json:"role"`
	// Queues are names of queues, or beginnings of names with * behind; none: all.
	Queues []string `json:"queues"`
	// Rate is how many submits per second it allows; 0: as many as the servers do.
	Rate uint32 `json:"rate"`
	// Creator is who made it: token/NAME, or ROLE/NAME of a certificate; "" if nobody was asked.
	Creator   string     `json:"creator"`
	CreatedAt *time.Time `json:"created_at"`
	// ExpiresAt is when it expires; null: never.
	ExpiresAt *time.Time `json:"expires_at"`
	Expired   bool       `json:"expired"`
	// Token is its text. Only rota token create prints it, once.
	Token string `json:"token,omitempty"`
}

// Context is a cluster with credentials for it: an element of what rota context list prints.
type Context struct {
	Name string `json:"name"`
	// Current: commands use it that name no other one.
	Current bool     `json:"current"`
	Addrs   []string `json:"addrs"`
	// CA, Cert, Key and TokenFile are files; "" if it has none.
	CA        string `json:"ca"`
	Cert      string `json:"cert"`
	Key       string `json:"key"`
	TokenFile string `json:"token_file"`
	// TokenID is the id of the token in the context itself; "" if there is none.
	TokenID string `json:"token_id"`
}
