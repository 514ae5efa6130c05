package task_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/task"
)

// firstRules is what versions have meant from the first one on.
const firstRules = "{MaxTasks:10000000 MaxPayload:262144 MaxRequestKey:256 MaxName:256 MaxArgs:1024 MaxArgBytes:65536 MaxPairs:64 MaxPairBytes:32768 " +
	"MaxValueRuns:4096 MaxPriority:1000 MaxAttempts:100 MaxDelay:87600h0m0s DefaultAttempts:3 MaxLost:5 BackoffBase:1s BackoffMax:5m0s " +
	"ReportMargin:15s OpenTimeout:10m0s RetainSucceeded:24h0m0s RetainOther:168h0m0s KeyRetention:24h0m0s " +
	"MaxStderrTail:8192 MaxAttemptStderr:8192 " +
	"MaxLiveJobs:10000000 MaxWorkers:20000 MaxServers:16 MaxSlots:4096 MaxOutstanding:16384 " +
	"MaxAccessTokens:1024 MaxQueuePatterns:32 MaxAccessTTL:87600h0m0s MaxAccessRate:1000000}"

// Servers of two builds apply the same entries: a constant may change only with the next version, and earlier
// versions keep their value. See docs/upgrade.md.
func TestWhatAVersionMeansNeverChanges(t *testing.T) {
	t.Parallel()
	for version := uint32(1); version <= 3; version++ {
		require.Equal(t, firstRules, fmt.Sprintf("%+v", *task.RulesOf(version)), "version %d", version)
	}
	require.Equal(t, firstRules, fmt.Sprintf("%+v", *task.StoredRules))
	four := strings.Replace(firstRules, "MaxStderrTail:8192", "MaxStderrTail:65536", 1)
	require.Equal(t, four, fmt.Sprintf("%+v", *task.RulesOf(4)))
}
