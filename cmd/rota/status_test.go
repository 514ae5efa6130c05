package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
)

// During an upgrade, a server of an older build may answer, which says nothing of versions of the log.
func TestVersionsThatNobodyHasToldAreNotShownAsZero(t *testing.T) {
	t.Parallel()
	a, out, _ := testApp(nil)
	servers := []client.ServerInfo{{ID: "n1", State: "leader", Voter: true, Version: "v1.0"}}
	require.NoError(t, a.printStatus(client.ClusterInfo{Leader: "n1", Term: 4, AppliedIndex: 9, Servers: servers}))
	require.Regexp(t, `^Leader n1, term 4, applied index 9; servers that answer: 1 of 1\n`, out.String())
	require.Regexp(t, `\n.* COMMIT +LAG +DISK FREE +CERTIFICATE +KNOWS +VERSION\nn1 .* - +0 +- +- +- +v1\.0\n$`, out.String())

	out.Reset()
	servers[0].KnowsVersion = 4
	require.NoError(t, a.printStatus(client.ClusterInfo{Leader: "n1", Term: 4, AppliedIndex: 9, ActiveVersion: 3, Servers: servers}))
	require.Regexp(t, `^Leader n1, term 4, applied index 9, log version 3; servers that answer: 1 of 1\n`, out.String())
	require.Regexp(t, ` 4 +v1\.0\n$`, out.String())
}
