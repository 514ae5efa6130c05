package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/wire"
)

func (a *app) loginCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "login NAME",
		Short: "Keep the addresses of a cluster and credentials for it",
		Long: "Asks the servers who you are, and keeps the addresses and the credentials as the context NAME in\n" +
			"~/.config/rota/contexts.yaml, which only you can read. Other commands use it then.\n\n" +
			"With --tls-cert the certificate is kept. Otherwise an access token is kept: the one in --token-file, or\n" +
			"the one that you type, or that is piped in.",
		Example: "  rota login prod --addr a.example:7420,b.example:7420 --tls-ca ca.crt\n" +
			"  rota login admin --addr a.example:7420 --tls-ca ca.crt --tls-cert admin.crt --tls-key admin.key",
		Args: wantArgs("a name for the context"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.login(cmd.Context(), args[0]) },
	}
	a.clientFlags(cmd)
	// What is kept must not come from another context.
	flag := cmd.PersistentFlags().Lookup("context")
	flag.Hidden, flag.Annotations = true, map[string][]string{noContext: {"true"}}
	return cmd
}

// login asks who the user is, and keeps what was given.
func (a *app) login(ctx context.Context, name string) error {
	if err := checkContextName(name); err != nil {
		return err
	}
	addrs, err := wire.ParseAddrs(a.addr)
	if err != nil {
		return usageOf(err)
	}
	fresh := &cliContext{Addrs: addrs}
	for _, f := range []struct {
		to   *string
		path string
	}{{&fresh.CA, a.tls.files.CA}, {&fresh.Cert, a.tls.files.Cert}, {&fresh.Key, a.tls.files.Key}, {&fresh.TokenFile, a.tokenFile}} {
		if f.path == "" {
			continue
		}
		if *f.to, err = filepath.Abs(f.path); err != nil {
			return err
		}
	}
	if fresh.CA != "" && fresh.Cert == "" && fresh.TokenFile == "" {
		secret, err := a.askToken()
		if err != nil {
			return err
		}
		fresh.Token, a.token = secret.Reveal(), wire.FixedToken(secret)
	}
	var who client.Identity
	err = a.withClient(ctx, func(ctx context.Context, c *client.Client) error {
		ctx, cancel := a.request(ctx)
		defer cancel()
		who, err = c.WhoAmI(ctx)
		return err
	})
	if err != nil {
		return err
	}
	all, err := a.readContexts()
	if err != nil {
		return err
	}
	all.Contexts[name], all.Current = fresh, name
	if err := all.write(); err != nil {
		return fmt.Errorf("keep the context: %w", err)
	}
	a.say("rota: you are %s; the context %s is kept and is the current one", whoText(who), name)
	return nil
}

// askToken reads an access token from the terminal, without showing it, or from standard input.
func (a *app) askToken() (wire.Secret, error) {
	var text string
	if f, ok := a.in.(*os.File); ok && a.inTTY {
		fmt.Fprint(a.err, "Access token: ")
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.err)
		if err != nil {
			return "", err
		}
		text = string(b)
	} else {
		line, err := bufio.NewReader(io.LimitReader(a.in, 4<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		text = line
	}
	secret, err := wire.ParseSecret(text)
	return secret, usageOf(err)
}

// whoText is an identity for people.
func whoText(who client.Identity) string {
	if who.Open {
		return "not asked who you are: the connection is in plain text"
	}
	text := string(who.Role) + " " + who.Name
	if len(who.Queues) > 0 {
		text += " for the queues " + strings.Join(who.Queues, ", ")
	}
	return text
}

func (a *app) whoamiCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "whoami", Short: "Show who you are to the servers, and what you may do",
		Long:    "Asks the servers whose certificate or access token this is, and which role it has.",
		Example: "  rota whoami\n  rota whoami --context prod -o json",
		Args:    wantArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.withClient(cmd.Context(), a.whoami) },
	}
	a.clientFlags(cmd)
	return cmd
}

func (a *app) whoami(ctx context.Context, c *client.Client) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	who, err := c.WhoAmI(ctx)
	if err != nil {
		return err
	}
	if a.format != formatTable {
		return a.printOne(jsonv1.Identity{
			Role: string(who.Role), Name: who.Name, Queues: jsonv1.List(who.Queues), TokenID: who.TokenID, ExpiresAt: jsonv1.Time(who.ExpiresAt), Open: who.Open,
		})
	}
	if who.Open {
		return a.print("The servers ask nobody who they are: connections are in plain text.\n")
	}
	queues := "all"
	if len(who.Queues) > 0 {
		queues = strings.Join(who.Queues, ", ")
	}
	return a.fields([2]string{"Name", who.Name}, [2]string{"Role", string(who.Role)}, [2]string{"Queues", queues}, [2]string{"Token", who.TokenID}, [2]string{"Expires", expiry(who.ExpiresAt)})
}

func (a *app) contextCmd() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the contexts that rota login has kept",
		Long:    "Lists the contexts. Commands use the current one unless --context, --addr, ROTA_CONTEXT or ROTA_ADDR\nsay otherwise.",
		Example: "  rota context list\n  rota context list -o json",
		Args:    wantArgs(),
		RunE:    func(*cobra.Command, []string) error { return a.contextList() },
	}
	use := &cobra.Command{
		Use: "use NAME", Short: "Make a context the current one",
		Long:    "Makes NAME the context that commands use if they name no other one.",
		Example: "  rota context use prod",
		Args:    wantArgs("the name of a context"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeContexts(func(c *contexts) error {
				if _, err := c.get(args[0]); err != nil {
					return err
				}
				c.Current = args[0]
				return nil
			}, "the current context is "+args[0])
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Forget a context",
		Long:    "Forgets a context with the token in it. The token stays valid: rota token revoke ends it.",
		Example: "  rota context remove prod",
		Args:    wantArgs("the name of a context"),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeContexts(func(c *contexts) error {
				if _, err := c.get(args[0]); err != nil {
					return err
				}
				if delete(c.Contexts, args[0]); c.Current == args[0] {
					c.Current = ""
				}
				return nil
			}, "forgot the context "+args[0])
		},
	}
	return group("context", "Choose between the clusters that you work with", list, use, remove)
}

// changeContexts changes the contexts of the user, and says so.
func (a *app) changeContexts(change func(*contexts) error, done string) error {
	all, err := a.readContexts()
	if err != nil {
		return err
	}
	if err := change(all); err != nil {
		return err
	}
	if err := all.write(); err != nil {
		return fmt.Errorf("keep the contexts: %w", err)
	}
	a.say("rota: %s", done)
	return nil
}

func (a *app) contextList() error {
	all, err := a.readContexts()
	if err != nil {
		return err
	}
	names := make([]string, 0, len(all.Contexts))
	for name := range all.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)
	list, rows := a.newJSONList(a.out), a.newTable("CURRENT", "NAME", "ADDRESSES", "CREDENTIALS")
	for _, name := range names {
		c := all.Contexts[name]
		out := jsonv1.Context{Name: name, Current: name == all.Current, Addrs: c.Addrs, CA: c.CA, Cert: c.Cert, Key: c.Key, TokenFile: c.TokenFile}
		if secret, err := wire.ParseSecret(c.Token); err == nil {
			out.TokenID = secret.ID()
		}
		if a.format != formatTable {
			if err := list.add(out); err != nil {
				return err
			}
			continue
		}
		current, credentials := "", "none"
		if out.Current {
			current = "*"
		}
		switch {
		case c.TokenFile != "":
			credentials = "token in " + c.TokenFile
		case out.TokenID != "":
			credentials = "token " + out.TokenID
		case c.Cert != "":
			credentials = "certificate " + c.Cert
		}
		rows.row(current, name, strings.Join(c.Addrs, ","), credentials)
	}
	if a.format != formatTable {
		return list.end()
	}
	if len(names) == 0 {
		a.say("rota: there are no contexts: rota login makes one")
		return nil
	}
	return rows.end()
}
