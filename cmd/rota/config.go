package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rota-scheduler/rota/api/jsonv1"
	"github.com/rota-scheduler/rota/wire"
	"github.com/rota-scheduler/rota/wire/secure"
)

func configFlag(f *pflag.FlagSet, path *string) {
	f.StringVar(path, "config", "", "YAML file with values of these flags by their names, for servers and workers; see rota config")
	fromEnv(f, "config", "ROTA_CONFIG")
}

// configured fills in flags of a process from a file, if there is one.
func (a *app) configured(f *pflag.FlagSet, path, section string) error {
	if path == "" {
		return nil
	}
	file, err := readProcessFile(path, a.processes())
	if err != nil {
		return err
	}
	return settle(f, file.forProcess(section), a.env)
}

// subject is a process whose configuration can be looked at. It is never started.
type subject struct {
	process
	// config is the value of its flag of this name.
	config *string
	// check finds the mistakes that are found before anything of the process is opened. It returns its certificates; nil:
	// none are named.
	check func() (*secure.Config, error)
}

// subjects returns all of them, in the order in which they are shown.
func (a *app) subjects() []subject {
	quiet := slog.New(slog.DiscardHandler)
	var s serverFlags
	serverSet := pflag.NewFlagSet(serverSection, pflag.ContinueOnError)
	s.add(serverSet)
	var w workerFlags
	own := &app{err: io.Discard, env: a.env}
	workerSet := pflag.NewFlagSet(workerSection, pflag.ContinueOnError)
	w.add(workerSet)
	own.connectionFlags(workerSet)
	return []subject{
		{process{serverSection, serverSet}, &s.config, func() (*secure.Config, error) {
			if _, err := s.log.logger(io.Discard); err != nil {
				return nil, err
			}
			if err := s.check(); err != nil {
				return nil, err
			}
			return s.openTLS(quiet)
		}},
		{process{workerSection, workerSet}, &w.config, func() (*secure.Config, error) {
			cfg, err := w.workerConfig(own)
			if err != nil {
				return nil, err
			}
			tls, err := own.tls.open(quiet)
			for _, addr := range cfg.Addrs {
				if err == nil && own.tls.plain() {
					err = usageOf(wire.CheckPlain(addr))
				}
			}
			return tls, err
		}},
	}
}

// processes returns what a configuration file may be for.
func (a *app) processes() (all []process) {
	for _, s := range a.subjects() {
		all = append(all, s.process)
	}
	return all
}

func (a *app) configCmd() *cobra.Command {
	var path string
	var all bool
	check := &cobra.Command{
		Use:   "check [server|worker] [-- FLAGS...]",
		Short: "Find mistakes in a configuration file",
		Long: "Finds the mistakes that would keep a server or a worker from starting: in the file, in the\n" +
			"environment, in FLAGS, and in the certificates. Without a name it checks each process that the\n" +
			"file has a section for. It opens no port and no data folder. The exit code is 2 if there is a mistake.",
		Example: "  rota config check --config /etc/rota/rota.yaml\n  rota config check --config /etc/rota/rota.yaml server -- --node-id n2 --pprof",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.configCheck(configArgs{path: path, args: args, dash: cmd.ArgsLenAtDash()})
		},
	}
	show := &cobra.Command{
		Use:   "show [server|worker] [-- FLAGS...]",
		Short: "Show all values of a configuration and where each came from",
		Long: "Shows the values that a server or a worker would start with: those of FLAGS, or else of the\n" +
			"environment, or else of the file, or else the defaults. Without --all it shows only what somebody\n" +
			"has set. It starts nothing, and shows the value whether or not the process could start with it.",
		Example: "  rota config show --config /etc/rota/rota.yaml\n  rota config show --config /etc/rota/rota.yaml worker --all -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.configShow(configArgs{path: path, args: args, dash: cmd.ArgsLenAtDash()}, all)
		},
	}
	show.Flags().BoolVar(&all, "all", false, "show the defaults too")
	for _, verb := range []*cobra.Command{check, show} {
		verb.ValidArgs = []string{serverSection, workerSection}
		configFlag(verb.Flags(), &path)
	}
	cmd := group("config", "Check and show configuration files", check, show)
	cmd.Long = "A configuration file is YAML. Its keys are the names of the flags of rota server start and rota worker\n" +
		"start. A key at the top is for each process that has this flag. Keys below server: and worker: are for\n" +
		"that process, and go before the top. Flags of the command line and the environment go before the file.\n" +
		"Paths are relative to the folder of the file. For example:\n\n" +
		"  log-format: json\n" +
		"  server:\n" +
		"    node-id: n1\n" +
		"    data-dir: /var/lib/rota/server\n" +
		"    join: [a.example:7420, b.example:7420, c.example:7420]\n" +
		"  worker:\n" +
		"    addr: [a.example:7420, b.example:7420, c.example:7420]\n" +
		"    slots: 8"
	return cmd
}

// configArgs are what the verbs of config are called with: the process, and behind the dash its flags.
type configArgs struct {
	path string
	args []string
	dash int
}

// split returns the name of the process and its flags; "": no process is named.
func (c configArgs) split() (name string, flags []string, err error) {
	names := c.args
	if c.dash >= 0 {
		names, flags = c.args[:c.dash], c.args[c.dash:]
	}
	switch {
	case len(names) > 1:
		return "", nil, usagef("name one of %s and %s, or neither", serverSection, workerSection)
	case len(names) == 1 && names[0] != serverSection && names[0] != workerSection:
		return "", nil, usagef("%q is no process with a configuration: use %s or %s", names[0], serverSection, workerSection)
	case len(names) == 0 && len(flags) > 0:
		return "", nil, usagef("flags behind -- are those of one process: name it, as in rota config check %s -- %s", serverSection, flags[0])
	case len(names) == 1:
		name = names[0]
	}
	return name, flags, nil
}

// resolved returns the processes that the arguments are about, with all values filled in. What is wrong with a value or the file comes
// as mistakes; the values beside it are filled in.
func (a *app) resolved(c configArgs) ([]subject, mistakes, error) {
	name, flags, err := c.split()
	if err != nil {
		return nil, nil, err
	}
	all := a.subjects()
	var file *processFile
	var wrong mistakes
	if c.path != "" {
		if file, err = readProcessFile(c.path, a.processes()); err != nil && !errors.As(err, &wrong) {
			return nil, nil, err
		}
	}
	sections := []string{name}
	if name == "" {
		if sections = file.has(); len(sections) == 0 {
			return nil, nil, usagef("say whether it is for a server or a worker, as in rota config check %s, or give the file the section server: or worker:", serverSection)
		}
	}
	all = slices.DeleteFunc(all, func(s subject) bool { return !slices.Contains(sections, s.name) })
	for _, s := range all {
		if err := s.flags.Parse(flags); err != nil {
			return nil, nil, usagef("%s", valueError(err, "--"))
		}
		if *s.config != "" {
			return nil, nil, usagef("name the file before the --: rota config check --config %s %s", *s.config, s.name)
		}
		var bad mistakes
		if err := settle(s.flags, file.forProcess(s.name), a.env); errors.As(err, &bad) {
			wrong = append(wrong, bad...)
		}
	}
	return all, wrong, nil
}

func (a *app) configCheck(c configArgs) error {
	all, wrong, err := a.resolved(c)
	if err != nil {
		return err
	}
	var valid []string
	if len(wrong) > 0 {
		all = nil // what is missing may be what a mistake hides
	}
	for _, s := range all {
		tls, err := s.check()
		if err != nil {
			wrong.add("%s: %v", s.name, err)
			continue
		}
		text := s.name + ": ok"
		if tls != nil {
			text += certificateText(tls)
		}
		valid = append(valid, text)
	}
	if a.format != formatTable {
		out := jsonv1.ConfigCheck{OK: len(wrong) == 0, Mistakes: []string{}}
		for _, err := range wrong {
			out.Mistakes = append(out.Mistakes, err.Error())
		}
		err = a.printOne(out)
	} else {
		for _, text := range valid {
			err = errors.Join(err, a.print("%s\n", text))
		}
		for _, w := range wrong {
			a.say("rota: %s", errorText(w))
		}
	}
	if err == nil && len(wrong) > 0 {
		err = &codeError{code: exitUsage}
	}
	return err
}

// certificateText says whose certificate a process would show, and until when.
func certificateText(c *secure.Config) string {
	self, ok := c.Self()
	if !ok {
		return ", without a certificate of its own"
	}
	return fmt.Sprintf(", as %s until %s", self, self.NotAfter.Format(time.DateOnly))
}

func (a *app) configShow(c configArgs, withDefaults bool) error {
	all, wrong, err := a.resolved(c)
	if err != nil {
		return err
	}
	if len(wrong) > 0 {
		return wrong
	}
	list, t := a.newJSONList(a.out), (*table)(nil)
	if a.format == formatTable {
		t = a.newTable("PROCESS", "KEY", "VALUE", "FROM")
	}
	for _, s := range all {
		s.flags.VisitAll(func(flag *pflag.Flag) {
			from := sourceOf(flag)
			if !isKey(flag) || from.from == fromDefault && !withDefaults {
				return
			}
			if t != nil {
				t.row(s.name, flag.Name, strings.Join(valuesOf(flag), ","), from.String())
				return
			}
			err = errors.Join(err, list.add(jsonv1.Setting{
				Process: s.name, Key: flag.Name, Values: jsonv1.List(valuesOf(flag)), From: from.from, Source: from.name, Line: from.line,
			}))
		})
	}
	if t != nil {
		return t.end()
	}
	return errors.Join(err, list.end())
}

// valuesOf returns the values of a flag: several for a list, one for others, none for an empty text.
func valuesOf(flag *pflag.Flag) []string {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	if text := flag.Value.String(); text != "" {
		return []string{text}
	}
	return nil
}
