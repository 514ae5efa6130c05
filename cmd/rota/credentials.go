package main

import (
	"cmp"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

// Which servers a command turns to, and with which credentials, comes from flags, from the environment, from a
// configuration file (workers have one), or from a context, in this order. A context is used as a whole: its token must not go to the servers of somebody else.

// rank orders where settings come from: a higher one goes before a lower one.
type rank int

const (
	rankNone rank = iota
	rankContext
	rankFile
	rankEnvironment
	rankFlag
)

// rankOf says where the value of a flag comes from, once it is settled.
func rankOf(f *pflag.FlagSet, name string) rank {
	flag := f.Lookup(name)
	if flag == nil {
		return rankNone
	}
	switch sourceOf(flag).from {
	case fromFlag:
		return rankFlag
	case fromEnvironment:
		return rankEnvironment
	case fromFile:
		return rankFile
	}
	return rankNone
}

// chooseCredentials sets the flags that the chosen context gives, and finds the token. It comes after settle.
func (a *app) chooseCredentials(f *pflag.FlagSet) error {
	if f.Lookup("context") == nil {
		return nil
	}
	chosen, err := a.chooseContext(f)
	if err != nil {
		return err
	}
	cert := max(rankOf(f, "tls-cert"), rankOf(f, "tls-key"))
	if cert == rankNone && chosen != nil && chosen.Cert != "" {
		cert = rankContext
	}
	token, from, err := a.chooseToken(f, chosen)
	if err != nil {
		return err
	}
	switch {
	case from > cert: // a certificate that is not asked for may have expired, and is not needed
		a.tls.noCert = true
	case from < cert:
		token = nil
	}
	a.token = token
	if chosen == nil {
		return nil
	}
	set := map[string]string{"addr": strings.Join(chosen.Addrs, ",")}
	if rankOf(f, "tls-ca") == rankNone {
		set["tls-ca"] = chosen.CA
	}
	if cert == rankContext {
		set["tls-cert"], set["tls-key"] = chosen.Cert, chosen.Key
	}
	for flag, value := range set {
		if value == "" {
			continue
		}
		if err := f.Set(flag, value); err != nil {
			return usagef("%v", err)
		}
	}
	return nil
}

// noContext marks the flag --context of verbs that use no context.
const noContext = "rota-no-context"

// chooseContext returns the context to use; nil: none.
func (a *app) chooseContext(f *pflag.FlagSet) (*cliContext, error) {
	if len(f.Lookup("context").Annotations[noContext]) > 0 {
		return nil, nil
	}
	addr, named := rankOf(f, "addr"), rankOf(f, "context")
	switch {
	case addr > rankNone && addr == named:
		return nil, usagef("--addr and --context (ROTA_ADDR and ROTA_CONTEXT) both say which servers to turn to: give one of them")
	case addr > named:
		return nil, nil
	}
	all, err := a.readContexts()
	if err != nil {
		if named == rankNone && a.env("HOME") == "" {
			return nil, nil // a process without a user has no contexts
		}
		return nil, err
	}
	name := cmp.Or(a.context, all.Current)
	if name == "" {
		return nil, nil
	}
	return all.get(name)
}

// chooseToken returns the token and where it comes from; nil: there is none.
func (a *app) chooseToken(f *pflag.FlagSet, chosen *cliContext) (*wire.Token, rank, error) {
	text, file := a.env("ROTA_TOKEN"), rankOf(f, "token-file")
	switch {
	case text != "" && file == rankEnvironment:
		return nil, 0, usagef("ROTA_TOKEN and ROTA_TOKEN_FILE are both set: set one of them")
	case text != "" && file < rankEnvironment:
		secret, err := wire.ParseSecret(text)
		if err != nil {
			return nil, 0, usagef("ROTA_TOKEN: %v", err)
		}
		return wire.FixedToken(secret), rankEnvironment, nil
	case file > rankNone:
		token, err := wire.FileToken(a.tokenFile)
		return token, file, usageOf(err)
	case chosen != nil:
		token, err := chosen.token()
		if token == nil || err != nil {
			return nil, rankNone, usageOf(err)
		}
		return token, rankContext, nil
	}
	return nil, rankNone, nil
}

// dialOptions are those of a connection to a server. A token goes over TLS only; in plain text nobody asks for one.
func (a *app) dialOptions(tls *secure.Config) []grpc.DialOption {
	opts := a.tls.dialOptions(tls)
	if tls != nil && a.token != nil {
		opts = append(opts, a.token.Option())
	}
	return opts
}
