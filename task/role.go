package task

import (
	"slices"
	"strings"
)

// Role is what a certificate or a token makes of whoever holds it.
type Role string

// The roles.
const (
	// RoleServer is a server of the cluster. Only certificates have it.
	RoleServer Role = "server"
	// RoleAdmin may do everything, including access and membership.
	RoleAdmin Role = "admin"
	// RoleOperator looks after a cluster that runs.
	RoleOperator Role = "operator"
	// RoleSubmit submits jobs and looks after them.
	RoleSubmit Role = "submit"
	// RoleRead reads and changes nothing.
	RoleRead Role = "read"
	// RoleWorker runs tasks.
	RoleWorker Role = "worker"
)

var roles = []Role{RoleServer, RoleAdmin, RoleOperator, RoleSubmit, RoleRead, RoleWorker}

// Roles returns all roles.
func Roles() []Role { return slices.Clone(roles) }

// ParseRole returns the role with a name.
func ParseRole(name string) (Role, error) {
	if r := Role(name); slices.Contains(roles, r) {
		return r, nil
	}
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return "", Errorf(KindInvalid, "unknown role %q: use %s", name, strings.Join(names, ", "))
}
