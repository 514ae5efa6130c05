package task

import "slices"

// Right is what a call needs of whoever makes it.
type Right string

// The rights.
const (
	// RightAnybody is that of everybody, also without credentials: to ask whether a server lives.
	RightAnybody Right = "anybody"
	// RightConnect is that of every role: to find the leader, and to ask who one is.
	RightConnect Right = "connect"
	// RightRead sees jobs, results, workers and the state of the cluster.
	RightRead Right = "read"
	// RightSubmit submits, cancels and retries jobs.
	RightSubmit Right = "submit"
	// RightOperate looks after queues, workers and the leader.
	RightOperate Right = "operate"
	// RightAdmin changes who has access and which servers there are, and copies the whole state.
	RightAdmin Right = "admin"
	// RightWork is given tasks and reports their results.
	RightWork Right = "work"
	// RightServe is that of servers among themselves.
	RightServe Right = "serve"
)

// rightsOf is what each role may do. People's roles are a ladder, so that each can be described in one line.
var rightsOf = map[Role][]Right{
	RoleServer:   {RightAnybody, RightConnect, RightServe},
	RoleAdmin:    {RightAnybody, RightConnect, RightRead, RightSubmit, RightOperate, RightAdmin, RightWork},
	RoleOperator: {RightAnybody, RightConnect, RightRead, RightSubmit, RightOperate},
	RoleSubmit:   {RightAnybody, RightConnect, RightRead, RightSubmit},
	RoleRead:     {RightAnybody, RightConnect, RightRead},
	RoleWorker:   {RightAnybody, RightConnect, RightWork},
}

// Has says whether a role has a right. The role "" is that of whoever shows no credentials.
func (r Role) Has(right Right) bool {
	return right == RightAnybody || slices.Contains(rightsOf[r], right)
}

// LeastRole is the role with the fewest rights among those that have this one; false: no role has it.
func LeastRole(right Right) (Role, bool) {
	var least Role
	for _, r := range roles {
		if r.Has(right) && (least == "" || len(rightsOf[r]) < len(rightsOf[least])) {
			least = r
		}
	}
	return least, least != ""
}
