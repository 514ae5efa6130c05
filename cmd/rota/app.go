package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
	"github.com/rota-scheduler/rota/wire"
)

const (
	defaultAddr = "127.0.0.1:7420"
	// defaultRequestTimeout is how long a verb tries to get an answer. It covers a
	// failover several times over.
	defaultRequestTimeout = 10 * time.Second
	// leaderlessTimeout is how long to ask the servers, after a request got no answer,
	// whether they have a leader.
	leaderlessTimeout = time.Second
)

// app is what all verbs share: the streams, the environment and the flags that every
// verb has.
type app struct {
	in                    io.Reader
	out, err              io.Writer
	env                   func(string) string
	inTTY, outTTY, errTTY bool

	format         string
	addr           string
	requestTimeout time.Duration
	tls            tlsFlags
	// context is the name of the context that is asked for. token is nil if there is none; tokenFile is where the user says that it is.
	context, tokenFile string
	token              *wire.Token
}

// run runs a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) && !errors.As(err, new(*codeError)) && !errors.Is(err, errInterrupted) {
		err = errInterrupted
	}
	if text := errorText(err); text != "" {
		if hint := a.hint(err); hint != "" {
			text += " (" + hint + ")"
		}
		a.say("rota: %s", text)
	}
	return exitCode(err)
}

// hint says what the user can do about an error; "" if the text of the error says it.
func (a *app) hint(err error) string {
	if errors.As(err, new(*usageError)) || errors.Is(err, errInterrupted) || errors.Is(err, errWaitTimeout) {
		return ""
	}
	switch task.KindOf(err) {
	case task.KindUnavailable, task.KindUnknownOutcome:
		if a.leaderless() {
			return "the servers answer, but none of them leads: is a majority of them up?"
		}
		return "are the servers up? name their gRPC addresses with --addr or ROTA_ADDR"
	case task.KindExhausted:
		return "the servers are busy: try again in a moment"
	default:
		return ""
	}
}

// leaderless reports whether a server answers and knows no leader. Servers hold a request
// while there is no leader, so the end of its time does not say why it got no answer.
func (a *app) leaderless() bool {
	ctx, cancel := context.WithTimeout(context.Background(), leaderlessTimeout)
	defer cancel()
	c, err := a.connect(nil)
	if err != nil {
		return false
	}
	defer c.Close()
	info, err := c.Status(ctx)
	return err == nil && info.Leader == ""
}

// say prints a message for people on standard error, apart from the data.
func (a *app) say(format string, args ...any) { fmt.Fprintln(a.err, visibly(format, args...)) }

// print prints data for people.
func (a *app) print(format string, args ...any) error {
	_, err := fmt.Fprint(a.out, visibly(format, args...))
	return err
}

// connect returns a client of the cluster that the flags and the environment name. It calls waiting
// for each request that takes long.
func (a *app) connect(waiting func(op string)) (*client.Client, error) {
	addrs, err := wire.ParseAddrs(a.addr)
	if err != nil {
		return nil, usageOf(err)
	}
	tls, err := a.tls.open(nil)
	if err != nil {
		return nil, err
	}
	if a.tls.insecure {
		a.say("rota: --insecure: whoever is between this machine and the servers can read and change what is sent")
	}
	c, err := client.New(client.Config{Addrs: addrs, RequestTimeout: a.requestTimeout, Waiting: waiting, Resolver: net.DefaultResolver, DialOptions: a.dialOptions(tls)})
	return c, usageOf(err)
}

// withClient runs f with a client of the cluster, and says once if a request takes long.
func (a *app) withClient(ctx context.Context, f func(ctx context.Context, c *client.Client) error) error {
	var once sync.Once
	c, err := a.connect(func(op string) {
		once.Do(func() { a.say("rota: %s: no answer yet; trying %s for up to %v", op, a.addr, a.requestTimeout) })
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

// request returns a context for one request to the servers.
func (a *app) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.requestTimeout)
}

// clientFlags adds the flags of verbs that talk to a cluster.
func (a *app) clientFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	a.connectionFlags(f)
	f.StringVar(&a.context, "context", "", "context to use, see rota login; empty: the current one")
	fromEnv(f, "context", "ROTA_CONTEXT")
	f.DurationVar(&a.requestTimeout, "request-timeout", defaultRequestTimeout, "how long to try to get an answer from the servers")
}

// connectionFlags adds the flags that say where the cluster is, and how to get in.
func (a *app) connectionFlags(f *pflag.FlagSet) {
	f.Var(newCommaList(&a.addr, defaultAddr), "addr", "addresses of servers, as host:port,host:port")
	fromEnv(f, "addr", "ROTA_ADDR")
	a.tls.add(f)
	fromEnv(f, "tls-ca", "ROTA_CACERT")
	fromEnv(f, "tls-cert", "ROTA_CLIENT_CERT")
	fromEnv(f, "tls-key", "ROTA_CLIENT_KEY")
	f.StringVar(&a.tokenFile, "token-file", "", "file with an access token; or set ROTA_TOKEN")
	fromEnv(f, "token-file", "ROTA_TOKEN_FILE")
	isPath(f, "token-file")
}
