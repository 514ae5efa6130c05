package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

func (a *app) tokenCmd() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the access tokens",
		Long:    "Lists all access tokens, without their texts, which nobody has but those who were given them.",
		Example: "  rota token list\n  rota token list -o json",
		Args:    wantArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.withClient(cmd.Context(), a.tokenList) },
	}
	revoke := &cobra.Command{
		Use: "revoke ID|NAME", Short: "End an access token",
		Long: "Ends an access token. Every server refuses it within a second, and ends its streams: workers and clients\n" +
			"with it go on when they have another one. A name must be that of one token only.",
		Example: "  rota token revoke ci\n  rota token revoke 3f9a2b41c07d",
		Args:    wantArgs("the id or the name of a token"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.tokenRevoke(ctx, c, args[0]) })
		},
	}
	cmd := group("token", "Make and revoke access tokens", a.tokenCreateCmd(), list, revoke)
	a.clientFlags(cmd)
	return cmd
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var t task.AccessToken
	var role, ttl string
	cmd := &cobra.Command{
		Use: "create", Short: "Make an access token, and print it once",
		Long: "Makes an access token and prints its text, which nobody can find out later. Whoever has the text has the\n" +
			"rights of its role:\n\n" +
			"  read      see jobs, results, workers and the state of the cluster\n" +
			"  submit    read, and submit, cancel and retry jobs\n" +
			"  operator  submit, and look after queues, workers and the leader\n" +
			"  admin     everything\n" +
			"  worker    run tasks, nothing else\n\n" +
			"With --queue the rights are for the queues with these names, or beginnings of names with * behind.",
		Example: "  rota token create --role submit --queue 'team-a-*' --ttl 30d --name ci > ci.token\n" +
			"  rota token create --role read --name grafana -o json",
		Args: wantArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			t.Role = task.Role(role)
			if t.TTL, err = parseTTL(ttl); err != nil {
				return err
			}
			if err := t.Validate(); err != nil {
				return usageOf(err)
			}
			return a.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error { return a.tokenCreate(ctx, c, t) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "what it may do: admin, operator, submit, read or worker")
	f.StringVar(&t.Name, "name", "", "what it is for, for people")
	f.StringArrayVar(&t.Queues, "queue", nil, "queue that it is for, or the beginning of such names with * behind; may be repeated; none: all")
	f.StringVar(&ttl, "ttl", "", "how long it is valid, such as 30d or 12h; empty: until it is revoked")
	f.Uint32Var(&t.Rate, "rate", 0, "submits per second that are meant for it; 0: as many as the servers allow. It is recorded and shown, and no server enforces it yet")
	return cmd
}

// parseTTL reads a duration that may be given in days.
func parseTTL(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n <= int(task.MaxAccessTTL/(24*time.Hour)) {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, usagef("--ttl %q is no duration: use such as 30d or 12h", text)
	}
	return d, nil
}

func (a *app) tokenCreate(ctx context.Context, c *client.Client, t task.AccessToken) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	secret, made, err := c.CreateToken(ctx, t)
	if err != nil {
		return err
	}
	if a.format != formatTable {
		out := tokenJSON(made)
		out.Token = secret.Reveal()
		return a.printOne(out)
	}
	a.say("rota: made the token %s (%s), which is shown this once", made.Name, made.ID)
	return a.print("%s\n", secret.Reveal())
}

func tokenJSON(t client.AccessToken) jsonv1.AccessToken {
	return jsonv1.AccessToken{
		ID: t.ID, Name: t.Name, Role: string(t.Role), Queues: jsonv1.List(t.Queues), Rate: t.Rate, Creator: t.Creator,
		CreatedAt: jsonv1.Time(t.CreatedAt), ExpiresAt: jsonv1.Time(t.ExpiresAt), Expired: t.Expired,
	}
}

func (a *app) tokenList(ctx context.Context, c *client.Client) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	tokens, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	if a.format != formatTable {
		list := a.newJSONList(a.out)
		for _, t := range tokens {
			if err := list.add(tokenJSON(t)); err != nil {
				return err
			}
		}
		return list.end()
	}
	if len(tokens) == 0 {
		a.say("rota: there are no access tokens")
		return nil
	}
	rows := a.newTable("ID", "NAME", "ROLE", "QUEUES", "RATE", "CREATED", "EXPIRES", "CREATOR")
	for _, t := range tokens {
		queues, rate := "all", ""
		if len(t.Queues) > 0 {
			queues = strings.Join(t.Queues, ",")
		}
		if t.Rate > 0 {
			rate = fmt.Sprintf("%d/s", t.Rate)
		}
		ends := expiry(t.ExpiresAt)
		if t.Expired {
			ends = "expired"
		}
		rows.row(t.ID, t.Name, string(t.Role), queues, rate, ago(t.CreatedAt), ends, t.Creator)
	}
	return rows.end()
}

// expiry is when something expires, for tables.
func expiry(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

// tokenRevoke ends the token with an id, or the only one with a name.
func (a *app) tokenRevoke(ctx context.Context, c *client.Client, which string) error {
	ctx, cancel := a.request(ctx)
	defer cancel()
	tokens, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, t := range tokens {
		if t.ID == which {
			ids = []string{t.ID}
			break
		}
		if t.Name == which {
			ids = append(ids, t.ID)
		}
	}
	switch {
	case len(ids) == 0:
		return task.Errorf(task.KindNotFound, "there is no token %q: rota token list shows all", which)
	case len(ids) > 1:
		return usagef("%d tokens have the name %q: say which by its id, %s", len(ids), which, strings.Join(ids, " or "))
	}
	if err := c.RevokeToken(ctx, ids[0]); err != nil {
		return err
	}
	a.say("rota: the token %s is revoked", ids[0])
	return nil
}
