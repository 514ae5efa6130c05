package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/internal/atomicfile"
	"github.com/rota-scheduler/rota/internal/localcluster"
	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// rolesHere are the roles that have a certificate in a local cluster.
var rolesHere = []task.Role{task.RoleServer, task.RoleWorker, task.RoleAdmin}

// rotation replaces the certificates of a cluster while it runs.
type rotation struct {
	*cluster
	// loaded is how often each process must have loaded its files so far.
	loaded int
	// admin is the TLS of the clients in this test.
	admin *secure.Config
}

func (r *rotation) path(role task.Role, name string) string {
	return filepath.Join(r.dir, "tls", string(role), name)
}

// files are those of a role in the cluster's folder.
func (r *rotation) files(role task.Role) secure.Files {
	cert, key := pki.Names(role)
	return secure.Files{CA: r.path(role, pki.BundleFile), Cert: r.path(role, cert), Key: r.path(role, key)}
}

// write replaces a file of a role as an administrator would, and waits for nobody.
func (r *rotation) write(role task.Role, name string, data []byte) {
	r.t.Helper()
	require.NoError(r.t, atomicfile.Write(r.path(role, name), data))
}

// bundle gives all roles a bundle of CAs.
func (r *rotation) bundle(cas ...[]byte) {
	r.t.Helper()
	for _, role := range rolesHere {
		r.write(role, pki.BundleFile, bytes.Join(cas, nil))
	}
	r.awaitLoaded()
}

// certify gives all roles certificates of a CA.
func (r *rotation) certify(ca *pki.CA) {
	r.t.Helper()
	for _, role := range rolesHere {
		req := pki.Request{Role: role, Name: "renewed", Validity: pki.Day}
		if role == task.RoleServer {
			req.Hosts = []string{"localhost", "127.0.0.1"}
		}
		pair, err := ca.Issue(req, time.Now())
		require.NoError(r.t, err)
		cert, key := pki.Names(role)
		r.write(role, cert, pair.Cert)
		r.write(role, key, pair.Key)
	}
	r.awaitLoaded()
}

// awaitLoaded waits until every process has loaded its files once more.
func (r *rotation) awaitLoaded() {
	r.t.Helper()
	require.NoError(r.t, r.admin.Reload())
	r.loaded++
	for _, p := range r.Processes() {
		await(r.t, "the new files of "+p.Name, func() bool {
			log, err := os.ReadFile(p.LogFile)
			require.NoError(r.t, err)
			return strings.Count(string(log), "loaded the changed files for TLS") >= r.loaded
		})
	}
}

// ask makes calls in a loop until stop is closed, each with a connection of its own, and returns how many there were.
func (r *rotation) ask(stop <-chan struct{}) (calls int, err error) {
	for {
		select {
		case <-stop:
			return calls, nil
		default:
		}
		if err := r.once(); err != nil {
			return calls, fmt.Errorf("call %d: %w", calls, err)
		}
		calls++
	}
}

func (r *rotation) once() error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cl, err := client.New(client.Config{Addrs: r.Addrs(), DialOptions: wire.Secure(r.admin)})
	if err != nil {
		return err
	}
	// A queue of its own: it waits for one slot, and not for all tasks of the large job.
	_, err = cl.Run(ctx, task.Spec{Handler: "rota.square", Queue: "calls"}, []byte("12"))
	return errors.Join(err, cl.Close())
}

// handshake connects to a port and says what it was refused for; nil: it got in.
func handshake(t *testing.T, addr string, c *secure.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	require.NoError(t, err)
	defer raw.Close()
	conn, err := c.Dial(ctx, raw, "h2")
	if err != nil {
		return err
	}
	// With TLS 1.3 the answer to this side's certificate is the first thing to read. HTTP/2 servers speak first.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(within)))
	_, err = conn.Read(make([]byte, 1))
	return secure.Explain(err, time.Now())
}

// TestCertificatesAreReplacedWhileAJobRuns exchanges the CA and all certificates of a cluster while a job of a million
// tasks runs. No call fails meanwhile, and afterwards nobody gets in with an old certificate.
func TestCertificatesAreReplacedWhileAJobRuns(t *testing.T) {
	c := start(t, localcluster.Config{Servers: 3, Workers: 2, Slots: 2048, TLS: true})
	r := &rotation{cluster: c, admin: c.TLS()}
	former, err := os.ReadFile(r.path(task.RoleAdmin, pki.BundleFile))
	require.NoError(t, err)
	old := r.keep(t, task.RoleAdmin)
	next, err := pki.NewCA(r.admin.TrustDomain(), pki.Day, time.Now())
	require.NoError(t, err)

	const tasks = 1_000_000
	cl, err := client.New(client.Config{Addrs: c.Addrs(), DialOptions: wire.Secure(r.admin)})
	require.NoError(t, err)
	defer cl.Close()
	job, err := cl.Submit(t.Context(), client.Request{Spec: task.Spec{Handler: "rota.sleep", SharedPayload: []byte("100ms")}, Count: tasks})
	require.NoError(t, err)
	stop, results := make(chan struct{}), 0
	var streamed, asked error
	var calls int
	var others sync.WaitGroup
	others.Go(func() {
		for res, err := range job.AsCompleted(context.Background()) {
			if err != nil || res.State != task.Succeeded {
				streamed = errors.Join(err, fmt.Errorf("task %d: %v", res.Index, res.State))
				return
			}
			results++
		}
	})
	others.Go(func() { calls, asked = r.ask(stop) })

	r.bundle(former, next.Bundle)
	r.certify(next)
	r.bundle(next.Bundle)
	info, err := job.Info(t.Context())
	require.NoError(t, err)
	require.Less(t, info.Counts[task.Succeeded], uint32(tasks), "the job has ended too soon to show anything")

	// A server that starts now knows the new CA only, and the others take it in.
	followers := c.followers()
	killAtOnce(followers[0])
	c.restart(followers[0])
	close(stop)
	others.Wait()
	require.NoError(t, asked)
	require.NoError(t, streamed)
	require.Equal(t, tasks, results)
	require.Greater(t, calls, 10)
	require.NoError(t, handshake(t, c.Servers[0].Addr, r.admin))
	err = handshake(t, c.Servers[0].Addr, old)
	require.ErrorIs(t, err, &secure.Error{Reason: secure.ReasonUnknownCA})
	t.Logf("%d calls succeeded meanwhile, each with a connection of its own", calls)
}

// keep returns the TLS of a role with the files as they are now.
func (r *rotation) keep(t *testing.T, role task.Role) *secure.Config {
	t.Helper()
	dir, from := t.TempDir(), r.files(role)
	for _, file := range []*string{&from.CA, &from.Cert, &from.Key} {
		data, err := os.ReadFile(*file)
		require.NoError(t, err)
		*file = filepath.Join(dir, filepath.Base(*file))
		require.NoError(t, os.WriteFile(*file, data, 0o600))
	}
	c, err := secure.Open(from, secure.Options{})
	require.NoError(t, err)
	return c
}

// plainHTTP asks for a page without TLS.
func plainHTTP(t *testing.T, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestAClusterChangesToTLSUnderLoad restarts one process after the other: the servers with certificates and plain text, the
// workers and clients with TLS, then the servers without plain text. Nobody misses an answer.
func TestAClusterChangesToTLSUnderLoad(t *testing.T) {
	u := &upgrade{cluster: start(t, localcluster.Config{Servers: 3, Workers: 2, Slots: 8})}
	u.load = submitLoops(2, "plain", submitWith(u.client(), task.Spec{Handler: "rota.square"}))
	u.changeToTLS()
}

// changeToTLS changes a cluster in plain text to TLS, under the load of clients in plain text, which then end. All of
// its jobs succeed.
func (u *upgrade) changeToTLS() {
	t := u.t
	t.Helper()
	// The leader comes last, or leadership would move each time.
	servers := u.order(false)
	for _, s := range servers {
		u.again(s, func() {
			require.NoError(t, u.Secure(s))
			s.AddArgs("--tls-optional=true")
		})
		u.load.more(t, 20)
	}
	for _, w := range u.Workers {
		u.again(w, func() { require.NoError(t, u.Secure(w)) })
		u.load.more(t, 20)
	}
	require.Equal(t, http.StatusOK, plainHTTP(t, "http://"+u.Servers[0].HTTPAddr+"/metrics"))
	secured, err := client.New(client.Config{Addrs: u.Addrs(), DialOptions: wire.Secure(u.TLS())})
	require.NoError(t, err)
	defer secured.Close()
	encrypted := submitLoops(2, "encrypted", submitWith(secured, task.Spec{Handler: "rota.square"}))
	encrypted.more(t, 20)
	all := u.load.halt(t)
	for _, s := range servers {
		u.again(s, func() { s.AddArgs("--tls-optional=false") })
		encrypted.more(t, 20)
	}
	maps.Copy(all, encrypted.halt(t))
	for _, id := range all {
		require.NoError(t, wait(secured.Job(id)))
	}
	u.requireOnce(all)
	u.verify()

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = u.client().Status(ctx)
	require.Error(t, err, "plain text is still accepted")
	require.Equal(t, http.StatusBadRequest, plainHTTP(t, "http://"+u.Servers[0].HTTPAddr+"/metrics"))
}
