package task_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

func TestEachRightHasItsRoles(t *testing.T) {
	t.Parallel()
	for right, want := range map[task.Right][]task.Role{
		task.RightAnybody: task.Roles(),
		task.RightConnect: task.Roles(),
		task.RightRead:    {task.RoleAdmin, task.RoleOperator, task.RoleSubmit, task.RoleRead},
		task.RightSubmit:  {task.RoleAdmin, task.RoleOperator, task.RoleSubmit},
		task.RightOperate: {task.RoleAdmin, task.RoleOperator},
		task.RightAdmin:   {task.RoleAdmin},
		task.RightWork:    {task.RoleAdmin, task.RoleWorker},
		task.RightServe:   {task.RoleServer},
		"":                {},
		"everything":      {},
	} {
		var have []task.Role
		for _, r := range task.Roles() {
			if r.Has(right) {
				have = append(have, r)
			}
		}
		require.ElementsMatch(t, want, have, "right %q", right)
		require.Equal(t, right == task.RightAnybody, task.Role("").Has(right), "without credentials")
	}
}

func TestTheLeastRoleIsTheOneToAskFor(t *testing.T) {
	t.Parallel()
	for right, want := range map[task.Right]task.Role{
		task.RightRead: task.RoleRead, task.RightSubmit: task.RoleSubmit, task.RightOperate: task.RoleOperator,
		task.RightAdmin: task.RoleAdmin, task.RightWork: task.RoleWorker, task.RightServe: task.RoleServer,
	} {
		got, ok := task.LeastRole(right)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := task.LeastRole("everything")
	require.False(t, ok)
}
