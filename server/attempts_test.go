package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"

	rotav1 "github.com/rota-scheduler/rota/api/rota/v1"
	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/transport/access"
	"github.com/rota-scheduler/rota/transport/peerpb"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

var update = flag.Bool("update", false, "write docs/access.md anew")

const (
	// ownQueue is one that limited tokens are for, and otherQueue one that they are not for.
	ownQueue, otherQueue = "team-a-1", "team-b"
	// attemptTimeout bounds one attempt. It is long: the machine may be busy.
	attemptTimeout = 20 * time.Second
)

// What comes of an attempt.
const (
	in      = "yes"
	denied  = "denied"
	unknown = "who?"
	noConn  = "no TLS"
)

// attacker is somebody who tries to get in.
type attacker struct {
	name string
	// title is what stands above its column.
	title string
	tls   *secure.Config
	// forged is used instead of tls.
	forged *tls.Config
	token  *wire.Token
	// says is what it claims to be.
	says *peerpb.Principal
	// role and queues are what it should be to the servers; outcome, if not "", is what always comes of its attempts but
	// for those of everybody.
	role    task.Role
	queues  []string
	outcome string
}

// fort is a server with a CA of its own, and everybody who wants to get in.
type fort struct {
	t      *testing.T
	cfg    Config
	server *Server
	ca     *pki.CA
	jobs   map[string]uint64 // a job of each queue
	admin  *grpc.ClientConn
}

// certificate makes one for a role.
func certificate(t *testing.T, ca *pki.CA, role task.Role) *secure.Config {
	t.Helper()
	dir := t.TempDir()
	pair, err := ca.Issue(pki.Request{Role: role, Name: "the-" + string(role), Validity: pki.Validity}, time.Now())
	require.NoError(t, err)
	require.NoError(t, ca.Write(dir, role, pair))
	cert, key := pki.Names(role)
	c, err := secure.Open(secure.Files{CA: filepath.Join(dir, pki.BundleFile), Cert: filepath.Join(dir, cert), Key: filepath.Join(dir, key)}, secure.Options{})
	require.NoError(t, err)
	return c
}

// forged is what somebody uses who has a certificate of an admin that is not valid, and does not check the server.
func forged(t *testing.T, ca *pki.CA, made time.Time) *tls.Config {
	t.Helper()
	pair, err := ca.Issue(pki.Request{Role: task.RoleAdmin, Name: "the-admin", Validity: time.Hour}, made)
	require.NoError(t, err)
	cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
	require.NoError(t, err)
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // the server is to refuse it
		// Certificates would only be shown to a server that asks for their CA.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
	}
}

// noCertificate knows the CA and has no certificate.
func noCertificate(t *testing.T, ca *pki.CA) *secure.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), pki.BundleFile)
	require.NoError(t, os.WriteFile(path, ca.Bundle, 0o600))
	c, err := secure.Open(secure.Files{CA: path, TrustDomain: ca.TrustDomain()}, secure.Options{})
	require.NoError(t, err)
	return c
}

func newFort(t *testing.T) *fort {
	t.Helper()
	// The CA and the certificate of the server are older than the oldest certificate of an attacker.
	ca, err := pki.NewCA("rota.test", pki.CAValidity, time.Now().Add(-3*time.Hour))
	require.NoError(t, err)
	f := &fort{t: t, cfg: alone(t), ca: ca, jobs: map[string]uint64{}}
	dir := t.TempDir()
	pair, err := ca.Issue(pki.Request{Role: task.RoleServer, Name: "n1", Hosts: []string{"127.0.0.1"}, Validity: pki.Validity}, time.Now().Add(-3*time.Hour))
	require.NoError(t, err)
	require.NoError(t, ca.Write(dir, task.RoleServer, pair))
	cert, key := pki.Names(task.RoleServer)
	f.cfg.TLS, err = secure.Open(secure.Files{CA: filepath.Join(dir, pki.BundleFile), Cert: filepath.Join(dir, cert), Key: filepath.Join(dir, key)}, secure.Options{})
	require.NoError(t, err)
	f.cfg.Profiles = true
	f.server, err = Start(f.cfg)
	require.NoError(t, err)
	t.Cleanup(func() { ended(t, f.server.Kill) })
	f.admin = f.dial(&attacker{tls: certificate(t, ca, task.RoleAdmin)})
	for _, queue := range []string{ownQueue, otherQueue} {
		f.submit(queue)
	}
	return f
}

func (f *fort) dial(a *attacker) *grpc.ClientConn {
	f.t.Helper()
	opts := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(a.forged))}
	if a.forged == nil {
		opts = wire.Secure(a.tls)
	}
	if a.token != nil {
		opts = append(opts, a.token.Option())
	}
	conn, err := wire.Dial(f.cfg.Node.Addr, opts...)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, conn.Close()) })
	return conn
}

// submit makes a job that never runs.
func (f *fort) submit(queue string) {
	f.t.Helper()
	spec := &rotav1.JobSpec{Queue: queue, Work: &rotav1.JobSpec_Handler{Handler: &rotav1.HandlerWork{Name: "none"}}}
	require.Eventually(f.t, func() bool {
		resp, err := rotav1.NewJobServiceClient(f.admin).Submit(f.t.Context(), &rotav1.SubmitRequest{Spec: spec, Tasks: &rotav1.TaskSet{Count: 1}, RequestKey: queue})
		if err == nil {
			f.jobs[queue] = resp.GetJobId()
		}
		return err == nil
	}, wait, 20*time.Millisecond)
}

// token makes an access token. It waits until the version of the log has risen that has them.
func (f *fort) token(role task.Role, queues []string, ttl time.Duration) (*wire.Token, string) {
	f.t.Helper()
	secret := wire.NewSecret()
	req := &rotav1.CreateTokenRequest{Hash: secret.Hash(), Name: "of-" + string(role), Role: string(role), Queues: queues}
	if ttl > 0 {
		req.Ttl = durationpb.New(ttl)
	}
	require.Eventually(f.t, func() bool {
		_, err := rotav1.NewAccessServiceClient(f.admin).CreateToken(f.t.Context(), req)
		return err == nil
	}, wait, 20*time.Millisecond)
	return wire.FixedToken(secret), secret.ID()
}

// attackers is everybody who tries.
func (f *fort) attackers() (all []*attacker) {
	t := f.t
	anonymous := noCertificate(t, f.ca)
	all = append(all, &attacker{name: "nobody: no certificate, no token", title: "none", tls: anonymous, outcome: unknown})
	for _, role := range task.Roles() {
		all = append(all, &attacker{name: "a certificate of the role " + string(role), title: string(role), tls: certificate(t, f.ca, role), role: role})
	}
	for _, role := range task.Roles() {
		if role == task.RoleServer {
			continue
		}
		token, _ := f.token(role, nil, 0)
		all = append(all, &attacker{name: "a token of the role " + string(role), title: "t:" + string(role), tls: anonymous, token: token, role: role})
	}
	for _, role := range []task.Role{task.RoleOperator, task.RoleSubmit, task.RoleRead, task.RoleWorker} {
		queues := []string{"team-a-*"}
		token, _ := f.token(role, queues, 0)
		all = append(all, &attacker{name: "a token of the role " + string(role) + " for queues", title: "q:" + string(role), tls: anonymous, token: token, role: role, queues: queues})
	}
	revoked, id := f.token(task.RoleOperator, nil, 0)
	_, err := rotav1.NewAccessServiceClient(f.admin).RevokeToken(t.Context(), &rotav1.RevokeTokenRequest{Id: id})
	require.NoError(t, err)
	expired, _ := f.token(task.RoleOperator, nil, time.Nanosecond)
	stranger, err := pki.NewCA(f.ca.TrustDomain(), pki.CAValidity, time.Now())
	require.NoError(t, err)
	cousin, err := pki.NewCA("other.test", pki.CAValidity, time.Now())
	require.NoError(t, err)
	admin := all[2]
	all = append(all,
		&attacker{name: "a certificate of another CA", title: "other CA", forged: forged(t, stranger, time.Now()), outcome: noConn},
		&attacker{name: "a certificate of another trust domain", title: "other domain", forged: forged(t, cousin, time.Now()), outcome: noConn},
		&attacker{name: "an expired certificate of an admin", title: "expired", forged: forged(t, f.ca, time.Now().Add(-2*time.Hour)), outcome: noConn},
		&attacker{name: "a revoked token", title: "t:revoked", tls: anonymous, token: revoked, outcome: unknown},
		&attacker{name: "an expired token", title: "t:expired", tls: anonymous, token: expired, outcome: unknown},
		&attacker{name: "a token of another cluster, or a guess", title: "t:foreign", tls: anonymous, token: wire.FixedToken(wire.NewSecret()), outcome: unknown},
		&attacker{name: "an admin's certificate with a revoked token", title: "admin+revoked", tls: admin.tls, token: revoked, outcome: unknown},
		&attacker{name: "a worker that says it asks for an admin", title: "worker as admin", tls: certificate(t, f.ca, task.RoleWorker), says: &peerpb.Principal{Role: string(task.RoleAdmin)}, outcome: denied},
		&attacker{name: "an admin that says it is a server", title: "admin as server", tls: admin.tls, says: &peerpb.Principal{Role: string(task.RoleServer)}, outcome: denied},
		&attacker{name: "no certificate, says it asks for an admin", title: "none as admin", tls: anonymous, says: &peerpb.Principal{Role: string(task.RoleAdmin)}, outcome: denied},
		&attacker{name: "a server that forwards for a reader", title: "server for read", tls: certificate(t, f.ca, task.RoleServer), says: &peerpb.Principal{Role: string(task.RoleRead)}, role: task.RoleRead},
	)
	return all
}

// methods is all calls of the server, from their definitions.
func (f *fort) methods() (all []protoreflect.MethodDescriptor) {
	for _, service := range slices.Sorted(maps.Keys(f.server.grpc.GetServiceInfo())) {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		require.NoError(f.t, err)
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			all = append(all, methods.Get(i))
		}
	}
	return all
}

func fullName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// request is one that is about a queue. It is not valid otherwise, so that it does nothing.
func (f *fort) request(m protoreflect.MethodDescriptor, queue string) proto.Message {
	r := dynamicpb.NewMessage(m.Input())
	at := protoreflect.Message(r)
	option, _ := proto.GetExtension(m.Options(), rotav1.E_Access).(*rotav1.Access)
	path := strings.Split(option.GetField(), ".")
	for i, name := range path {
		field := at.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case field == nil:
		case i < len(path)-1:
			at = at.Mutable(field).Message()
		case field.Kind() == protoreflect.Uint64Kind:
			at.Set(field, protoreflect.ValueOfUint64(f.jobs[queue]))
		default:
			at.Set(field, protoreflect.ValueOfString(queue))
		}
	}
	// Those that would wait do not.
	if field := r.Descriptor().Fields().ByName("no_wait"); field != nil {
		r.Set(field, protoreflect.ValueOfBool(true))
	}
	if field := r.Descriptor().Fields().ByName("wait"); field != nil {
		r.Mutable(field).Message() // no time at all
	}
	return r
}

// attempt makes a call, and returns what has come of it.
func (f *fort) attempt(conn *grpc.ClientConn, a *attacker, m protoreflect.MethodDescriptor, queue string) string {
	ctx, cancel := context.WithTimeout(f.t.Context(), attemptTimeout)
	defer cancel()
	if a.says != nil {
		b, err := proto.Marshal(a.says)
		require.NoError(f.t, err)
		ctx = metadata.AppendToOutgoingContext(ctx, wire.PrincipalKey, string(b), wire.ForwardedKey, "1")
	}
	desc := &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}
	stream, err := conn.NewStream(ctx, desc, fullName(m))
	if err == nil {
		// The error of a failed send is that of the receive.
		_ = stream.SendMsg(f.request(m, queue))
		_ = stream.CloseSend()
		err = stream.RecvMsg(dynamicpb.NewMessage(m.Output()))
	}
	if err == nil || errors.Is(err, io.EOF) {
		return in
	}
	kind := task.KindOf(wire.FromStatus(err))
	switch {
	case kind == task.KindDenied:
		return denied
	case kind == task.KindUnauthenticated:
		return unknown
	case status.Code(err) == codes.Unavailable && len(status.Convert(err).Details()) == 0: // no server has said it
		return noConn
	case status.Code(err) == codes.DeadlineExceeded:
		f.t.Errorf("%s at %s got no answer", a.name, m.FullName())
	}
	return in // it was let in, and the request made no sense
}

// expected is what should come of it, by the rules alone.
func (f *fort) expected(a *attacker, rule *access.Rule, queue string) string {
	scope := rule.Scope
	switch {
	case a.outcome == noConn:
		return noConn
	case rule.Right == task.RightAnybody:
		return in
	case a.outcome != "":
		return a.outcome
	case a.says != nil && rule.Right == task.RightServe: // the server's own certificate counts
		return in
	case !a.role.Has(rule.Right):
		return denied
	case len(a.queues) == 0, scope == rotav1.Scope_SCOPE_ANY, scope == rotav1.Scope_SCOPE_MESSAGES:
		return in
	case scope == rotav1.Scope_SCOPE_CLUSTER, !task.MatchesQueue(a.queues, queue):
		return denied
	}
	return in
}

// TestAttemptsToGetIn makes each call of each service, and asks for each route of HTTP, with each kind of credentials, and
// compares what comes of it with the rules. docs/access.md has the table.
func TestAttemptsToGetIn(t *testing.T) {
	t.Parallel()
	f := newFort(t)
	rules, err := access.RulesOf(f.server.grpc.GetServiceInfo())
	require.NoError(t, err)
	everybody := f.attackers()
	conns := map[*attacker]*grpc.ClientConn{}
	for _, a := range everybody {
		conns[a] = f.dial(a)
	}
	table := [][]string{}
	for _, m := range f.methods() {
		rule := rules[fullName(m)]
		row := []string{callText(m), string(rule.Right), scopeText(rule.Scope)}
		for _, a := range everybody {
			cell := f.attempt(conns[a], a, m, ownQueue)
			require.Equal(t, f.expected(a, rule, ownQueue), cell, "%s at %s", a.name, m.FullName())
			if other := f.attempt(conns[a], a, m, otherQueue); other != cell {
				require.Equal(t, f.expected(a, rule, otherQueue), other, "%s at %s for another queue", a.name, m.FullName())
				cell = "own"
			} else {
				require.Equal(t, f.expected(a, rule, otherQueue), other, "%s at %s for another queue", a.name, m.FullName())
			}
			row = append(row, cell)
		}
		table = append(table, row)
	}
	for _, r := range f.server.web.Routes() {
		row := []string{r.Pattern, string(r.Right), "cluster"}
		for _, a := range everybody {
			if a.says != nil { // there is no such header in HTTP
				row = append(row, "")
				continue
			}
			cell := f.attemptHTTP(a, r.Pattern)
			require.Equal(t, f.expected(a, &access.Rule{Right: r.Right, Scope: rotav1.Scope_SCOPE_CLUSTER}, ""), cell, "%s at %s", a.name, r.Pattern)
			row = append(row, cell)
		}
		table = append(table, row)
	}
	f.compareTable(everybody, table)
}

// callText names a call. Calls of others have their package before their name, which has a version.
func callText(m protoreflect.MethodDescriptor) string {
	service := m.Parent().FullName()
	if strings.HasPrefix(string(service), "rota.") {
		service = protoreflect.FullName(service.Name())
	}
	return string(service) + "." + string(m.Name())
}

func scopeText(s rotav1.Scope) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SCOPE_"))
}

// attemptHTTP asks for a route.
func (f *fort) attemptHTTP(a *attacker, pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	ctx, cancel := context.WithTimeout(f.t.Context(), attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "https://"+f.cfg.Node.HTTPAddr+path, nil)
	require.NoError(f.t, err)
	if a.token != nil {
		md, err := a.token.GetRequestMetadata(ctx)
		require.NoError(f.t, err)
		req.Header.Set("Authorization", md[wire.AuthorizationKey])
	}
	config := a.forged
	if config == nil {
		config = a.tls.Client()
	}
	tr := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return noConn
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return unknown
	case http.StatusForbidden:
		return denied
	}
	return in
}

// compareTable compares the table with the one in the documentation.
func (f *fort) compareTable(everybody []*attacker, table [][]string) {
	var out bytes.Buffer
	fmt.Fprint(&out, tableHead)
	for _, a := range everybody {
		fmt.Fprintf(&out, "| %s | %s |\n", a.title, a.name)
	}
	fmt.Fprint(&out, "\n| call or route | right | for |")
	for _, a := range everybody {
		fmt.Fprintf(&out, " %s |", a.title)
	}
	fmt.Fprintf(&out, "\n|%s\n", strings.Repeat("---|", 3+len(everybody)))
	for _, row := range table {
		fmt.Fprintf(&out, "| %s |\n", strings.Join(row, " | "))
	}
	path := filepath.Join("..", "docs", "access.md")
	if *update {
		require.NoError(f.t, os.WriteFile(path, out.Bytes(), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(f.t, err)
	require.Equal(f.t, string(want), out.String(), "run: go test ./server -run TestAttemptsToGetIn -update")
}

const tableHead = `# Attempts to get in

A test makes each call of each service, and asks for each route of HTTP, with each kind of credentials
(` + "`server: TestAttemptsToGetIn`" + `), and compares what comes of it with the rules beside the calls (` + "`api/rota/v1/*.proto`" + `) and routes
(` + "`web/web.go`" + `). It writes this file too.

In the table, ` + "`yes`" + ` is let in, ` + "`own`" + ` is let in for its own queues only, ` + "`denied`" + ` lacks the right, ` + "`who?`" + ` is not known, and ` + "`no TLS`" + ` gets no
connection.

| column | who |
|---|---|
`
