package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// root builds the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "rota",
		Short: "Rota runs jobs on many machines and keeps them when servers die",
		Long: "Rota is a durable task scheduler. Its servers replicate jobs, assignments and\n" +
			"results. One of them leads and gives tasks to workers; if it dies, another one leads.\n\n" +
			"Start here:  rota demo            a tour, with the leader killed in the middle\n" +
			"             rota dev             servers and workers on this machine\n" +
			"             rota run -- echo hi  a job, in another terminal",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          groupOnly,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := settle(cmd.Flags(), nil, a.env); err != nil {
				return err
			}
			if cmd.Flags().Lookup("config") == nil { // a file may still say more
				if err := a.chooseCredentials(cmd.Flags()); err != nil {
					return err
				}
			}
			if !slices.Contains(formats, a.format) {
				return usagef("unknown output format %q: use %s", a.format, strings.Join(formats, ", "))
			}
			if f := cmd.Flags().Lookup("request-timeout"); f != nil && a.requestTimeout <= 0 {
				return usagef("--request-timeout %v is out of range: use more than 0, such as %v", a.requestTimeout, defaultRequestTimeout)
			}
			if d, err := cmd.Flags().GetDuration("wait-timeout"); err == nil && d < 0 {
				return usagef("--wait-timeout %v is negative", d)
			}
			return nil
		},
	}
	root.SetVersionTemplate("rota {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVarP(&a.format, "output", "o", formatTable, "how to print data: "+strings.Join(formats, ", "))
	root.AddCommand(
		a.runCmd(), a.submitCmd(), a.mapCmd(), a.jobCmd(), a.workerCmd(), a.clusterCmd(), a.eventsCmd(), a.debugCmd(), a.serverCmd(),
		a.configCmd(), a.tlsCmd(), a.tokenCmd(), a.loginCmd(), a.whoamiCmd(), a.contextCmd(), a.devCmd(), a.demoCmd(), a.benchCmd(), a.versionCmd(),
	)
	a.complete(root)
	a.explain(root)
	return root
}

// explain gives an example to each command that cobra adds, because all others have one.
func (a *app) explain(root *cobra.Command) {
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for path, example := range map[string]string{
		"help":                  "rota help job list",
		"completion bash":       "source <(rota completion bash)",
		"completion fish":       "rota completion fish > ~/.config/fish/completions/rota.fish",
		"completion powershell": "rota completion powershell > rota.ps1",
		"completion zsh":        "rota completion zsh > _rota",
	} {
		if cmd, _, err := root.Find(strings.Fields(path)); err == nil {
			cmd.Example = "  " + example
		}
	}
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = helpArgs(root)
	}
}

// helpArgs refuses what help knows nothing of. Cobra would show the help of what stands before it.
func helpArgs(root *cobra.Command) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		cmd, rest, err := root.Find(args)
		if err != nil || len(rest) == 0 || !cmd.HasAvailableSubCommands() {
			return usageOf(err)
		}
		return groupOnly(cmd, rest)
	}
}

// group makes a command that only has subcommands.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: groupOnly}
	cmd.AddCommand(verbs...)
	return cmd
}

// groupOnly explains what is wrong with a command line that names no verb.
func groupOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		if cmd.HasParent() {
			return usagef("%s needs a verb: %s", cmd.CommandPath(), verbs(cmd))
		}
		return cmd.Help()
	}
	if near := nearestVerb(cmd, args[0]); near != "" {
		return usagef("unknown command %q: did you mean %s %s?", args[0], cmd.CommandPath(), near)
	}
	return usagef("unknown command %q: %s knows %s", args[0], cmd.CommandPath(), verbs(cmd))
}

func verbs(cmd *cobra.Command) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return strings.Join(names, ", ")
}

// wantArgs takes exactly the named arguments.
func wantArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s needs %s; see %s --help", cmd.CommandPath(), strings.Join(names[len(args):], " and "), cmd.CommandPath())
		case len(args) > len(names):
			return usagef("%s does not take the argument %q; see %s --help", cmd.CommandPath(), args[len(names)], cmd.CommandPath())
		}
		return nil
	}
}
