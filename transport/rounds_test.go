package transport

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// However many callers there are, a costly question is asked by one of them at a time, and for half of the time at
// most. Nobody gets an answer that is older than the question.
func TestACostlyQuestionIsSharedByAllWhoAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const takes = 100 * time.Millisecond
		asked, at := 0, 0
		var began []time.Time
		r := newRounds(t.Context(), new(sync.WaitGroup), func() (time.Time, error) {
			at++
			require.Equal(t, 1, at, "at once")
			defer func() { at-- }()
			asked++
			now := time.Now()
			began = append(began, now)
			time.Sleep(takes)
			return now, nil
		})
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				came := time.Now()
				got, err := r.do(t.Context())
				require.NoError(t, err)
				require.False(t, got.Before(came), "it is older than the question")
				require.LessOrEqual(t, time.Since(came), 4*takes)
			})
			time.Sleep(time.Millisecond)
		}
		all.Wait()
		require.LessOrEqual(t, asked, int(time.Second/takes)/2+2)
		for i := 1; i < len(began); i++ {
			require.GreaterOrEqual(t, began[i].Sub(began[i-1]), 2*takes, "it rests")
		}
	})
}

// The first caller of a round is like any other: its call ends with its context, and the round goes on.
func TestNobodyWaitsForARoundBeyondItsCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running sync.WaitGroup
		r := newRounds(t.Context(), &running, func() (int, error) {
			time.Sleep(time.Minute)
			return 7, nil
		})
		began := time.Now()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.do(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		running.Wait()
		require.Equal(t, time.Minute, time.Since(began))
	})
}

// A server that stops does not wait until a question may be asked again.
func TestARoundDoesNotRestWhereTheServerStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopping, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		r := newRounds(stopping, &running, func() (int, error) {
			time.Sleep(maxRest)
			return 7, nil
		})
		_, err := r.do(t.Context())
		require.NoError(t, err)
		stop()
		began := time.Now()
		_, err = r.do(t.Context())
		require.NoError(t, err)
		running.Wait()
		require.Equal(t, maxRest, time.Since(began))
	})
}

func TestWhoGoesIsNotMissedByTheOthersOfItsRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRounds(t.Context(), new(sync.WaitGroup), func() (int, error) {
			time.Sleep(time.Minute)
			return 7, nil
		})
		var all sync.WaitGroup
		all.Go(func() { _, _ = r.do(t.Context()) })
		synctest.Wait()
		impatient, cancel := context.WithCancel(t.Context())
		all.Go(func() { _, _ = r.do(impatient) })
		synctest.Wait()
		cancel()
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err := r.do(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		got, err := r.do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 7, got)
		all.Wait()
	})
}
