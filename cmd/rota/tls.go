package main

import (
	"cmp"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rota-scheduler/rota/internal/pki"
	"github.com/rota-scheduler/rota/task"
)

const (
	// defaultTrustDomain is that of a CA whose user names none. Clusters with CAs of their own do not trust each other
	// anyway.
	defaultTrustDomain = "rota"
	// tlsDir is where the verbs put their folders, and caDir is the one with the CA.
	tlsDir = "tls"
	caDir  = "ca"
	// maxTLSHosts bounds the servers that one command makes certificates for.
	maxTLSHosts = 64
)

func (a *app) tlsCmd() *cobra.Command {
	return group("tls", "Make certificates for servers, workers and people", a.tlsInitCmd(), a.tlsCACmd(), a.tlsCertCmd(), a.tlsShowCmd())
}

// validity adds a flag for a number of days.
func validity(cmd *cobra.Command, days *int, flag, of string, otherwise time.Duration) {
	cmd.Flags().IntVar(days, flag, int(otherwise/pki.Day), "how many days "+of+" is valid")
}

// daysOf checks a number of days.
func daysOf(flag string, days int) (time.Duration, error) {
	if most := int(pki.MaxValidity / pki.Day); days < 1 || days > most {
		return 0, usagef("--%s %d is out of range: use 1 to %d", flag, days, most)
	}
	return time.Duration(days) * pki.Day, nil
}

func (a *app) tlsInitCmd() *cobra.Command {
	var out, domain string
	var days, caDays int
	cmd := &cobra.Command{
		Use:   "init HOST...",
		Short: "Make a CA and all certificates of a new cluster",
		Long: "Makes a CA, a certificate for the server on each HOST, one for an administrator and one for workers.\n" +
			"Each folder has what one machine needs, and is ready to be copied to it. HOST is a name or an IP\n" +
			"address; several of one server have commas between them, and the first one names its folder.\n" +
			"Servers and workers know each other by role and trust domain, not by host, so certificates stay as\n" +
			"they are when a server moves. Browsers and curl look at the host.",
		Example: "  rota tls init --out secrets a.example b.example c.example\n  rota tls init --out new a.example,10.0.0.1 --days 90",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wantArgs("the host of each server")(cmd, args)
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			valid, err := daysOf("days", days)
			if err != nil {
				return err
			}
			caValid, err := daysOf("ca-days", caDays)
			if err != nil {
				return err
			}
			plan, err := planInit(out, args, valid)
			if err != nil {
				return err
			}
			return a.tlsInit(out, domain, caValid, plan)
		},
	}
	cmd.Flags().StringVar(&out, "out", tlsDir, "folder for the folders")
	cmd.Flags().StringVar(&domain, "trust-domain", defaultTrustDomain, "name of the cluster in all certificates")
	validity(cmd, &days, "days", "each certificate", pki.Validity)
	validity(cmd, &caDays, "ca-days", "the CA", pki.CAValidity)
	return cmd
}

// issue is a certificate to be made, and the folder for it.
type issue struct {
	dir string
	pki.Request
}

// planInit checks the hosts of a new cluster and says what to make, before anything is made.
func planInit(out string, hosts []string, valid time.Duration) ([]issue, error) {
	if len(hosts) > maxTLSHosts {
		return nil, usagef("%d servers are too many for one command: name at most %d, and make the others with rota tls cert", len(hosts), maxTLSHosts)
	}
	taken := []string{caDir, string(task.RoleAdmin), string(task.RoleWorker)}
	var plan []issue
	for _, arg := range hosts {
		all := strings.Split(arg, ",")
		for _, h := range all {
			if err := pki.CheckHost(h); err != nil {
				return nil, usageOf(err)
			}
		}
		// A colon in a path is a host to scp, and has no place in the name either.
		name := strings.ReplaceAll(all[0], ":", "_")
		if strings.Contains(name, "*") {
			return nil, usagef("%q cannot be the name of a server: name one host first, such as a.example,%s", all[0], all[0])
		}
		if slices.ContainsFunc(taken, func(t string) bool { return strings.EqualFold(t, name) }) {
			return nil, usagef("the folder %s is for something else already: name each host once, and none %s", name, strings.Join(taken[:3], ", "))
		}
		if err := task.ValidNodeID("HOST", name); err != nil {
			return nil, usageOf(err)
		}
		taken = append(taken, name)
		plan = append(plan, issue{filepath.Join(out, name), pki.Request{
			Role: task.RoleServer, Name: name, Hosts: withLoopback(all), Validity: valid,
		}})
	}
	for _, role := range []task.Role{task.RoleAdmin, task.RoleWorker} {
		plan = append(plan, issue{filepath.Join(out, string(role)), pki.Request{Role: role, Name: string(role), Validity: valid}})
	}
	return plan, nil
}

// withLoopback adds what a machine calls itself, so that curl on the machine of a server can ask it.
func withLoopback(hosts []string) []string {
	all := slices.Clone(hosts)
	for _, h := range []string{"localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(all, h) {
			all = append(all, h)
		}
	}
	return all
}

func (a *app) tlsInit(out, domain string, caValid time.Duration, plan []issue) error {
	now := time.Now()
	// A folder of an older call must not get certificates of another CA.
	for _, i := range plan {
		if err := pki.Absent(i.dir); err != nil {
			return err
		}
	}
	ca, err := a.newCA(filepath.Join(out, caDir), domain, caValid, now)
	if err != nil {
		return err
	}
	made := []madeFile{{filepath.Join(out, caDir, pki.BundleFile), filepath.Join(out, caDir, pki.CAKeyFile)}}
	for _, i := range plan {
		file, err := makeCert(ca, i, now)
		if err != nil {
			return err
		}
		made = append(made, file)
	}
	if err := writeConfigs(plan); err != nil {
		return err
	}
	if a.format != formatTable {
		return a.printMade(made)
	}
	if err := a.print("Made a CA for the trust domain %q in %s, and %d certificates that are valid until %s.\n\nCopy each folder to where it is used, and only there:\n",
		ca.TrustDomain(), filepath.Join(out, caDir), len(plan), now.Add(plan[0].Validity).Format(time.DateOnly)); err != nil {
		return err
	}
	for _, i := range plan {
		to := map[task.Role]string{task.RoleAdmin: "ADMIN_MACHINE", task.RoleWorker: "WORKER"}[i.Role]
		if to == "" {
			to = sshHost(i.Hosts[0])
		}
		if err := a.print("  scp -r %s %s:rota-tls\n", i.dir, to); err != nil {
			return err
		}
	}
	if err := a.printNext(plan); err != nil {
		return err
	}
	return a.print("\nSee what is in a certificate:\n  rota tls show %s\n\nKeep %s offline: whoever has it can make any certificate. For more:\n  rota tls cert --ca %s --role worker --name w1\n",
		filepath.Join(plan[0].dir, "server.crt"), filepath.Join(out, caDir, pki.CAKeyFile), filepath.Join(out, caDir))
}

// printNext says how to start a cluster with new certificates.
func (a *app) printNext(plan []issue) error {
	addrs := serverAddrs(plan)
	if !canBootstrap(len(addrs)) {
		return a.print("\nUse an odd number of servers, %d at most: an even number survives no more losses.\n", maxBootstrap)
	}
	return a.print("\nEach of them has a configuration file. Start a server on its machine, then a worker, then use the cluster:\n"+
		"  rota server start --config rota-tls/%s\n  rota worker start --config rota-tls/%s\n  rota cluster status --addr %s %s\n",
		configName, configName, strings.Join(addrs, ","), tlsArgs(task.RoleAdmin))
}

// tlsArgs are the flags for the files of a role, where the commands that tls init prints have copied them.
func tlsArgs(role task.Role) string {
	files := tlsKeys(role)
	return "--tls-ca rota-tls/" + files.CA + " --tls-cert rota-tls/" + files.Cert + " --tls-key rota-tls/" + files.Key
}

// sshHost is how scp wants a host.
func sshHost(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

func (a *app) tlsCACmd() *cobra.Command {
	var out, domain string
	var days int
	cmd := &cobra.Command{
		Use: "ca", Short: "Make a CA",
		Long: "Makes the key and the certificate of a CA, and nothing else. A cluster that changes its CA first trusts\n" +
			"both: a bundle is the certificates of several CAs in one file.",
		Example: "  rota tls ca --out next-ca\n  rota tls ca --out team-ca --trust-domain team.example --days 730",
		Args:    wantArgs(),
		RunE: func(*cobra.Command, []string) error {
			valid, err := daysOf("days", days)
			if err != nil {
				return err
			}
			if _, err := a.newCA(out, domain, valid, time.Now()); err != nil {
				return err
			}
			file := madeFile{filepath.Join(out, pki.BundleFile), filepath.Join(out, pki.CAKeyFile)}
			if a.format != formatTable {
				return a.printMade([]madeFile{file})
			}
			return a.print("Made %s and %s.\n\nMake certificates with it:\n  rota tls cert --ca %s --role server --name a --host a.example\n", file.cert, file.key, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", filepath.Join(tlsDir, caDir), "folder for ca.crt and ca.key")
	cmd.Flags().StringVar(&domain, "trust-domain", defaultTrustDomain, "name of the cluster in all certificates")
	validity(cmd, &days, "days", "the CA", pki.CAValidity)
	return cmd
}

func (a *app) newCA(dir, domain string, valid time.Duration, now time.Time) (*pki.CA, error) {
	ca, err := pki.NewCA(domain, valid, now)
	if err != nil {
		return nil, usageOf(err)
	}
	return ca, ca.WriteCA(dir)
}

func (a *app) tlsCertCmd() *cobra.Command {
	var from, out, role string
	var r pki.Request
	var days int
	cmd := &cobra.Command{
		Use: "cert", Short: "Make a certificate with the CA of a cluster",
		Long: "Makes a key and a certificate, and copies the CA bundle beside them. The role says what its holder may\n" +
			"do, and the name who it is. A server also needs the names and addresses that browsers and curl use.",
		Example: "  rota tls cert --ca tls/ca --role worker --name w1\n  rota tls cert --ca tls/ca --role server --name d --host d.example --host 10.0.0.4",
		Args:    wantArgs(),
		RunE: func(*cobra.Command, []string) error {
			var err error
			if r.Role, err = task.ParseRole(role); err != nil {
				return usagef("--role: %v", err)
			}
			if r.Name == "" {
				return usagef("rota tls cert needs --name: who the certificate is for, such as w1")
			}
			if r.Role == task.RoleServer && len(r.Hosts) == 0 {
				return usagef("the certificate of a server needs --host: its name or address, as browsers and curl use it")
			}
			if r.Validity, err = daysOf("days", days); err != nil {
				return err
			}
			return a.tlsCert(from, issue{cmp.Or(out, filepath.Join(tlsDir, r.Name)), r})
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "ca", filepath.Join(tlsDir, caDir), "folder with ca.crt and ca.key")
	f.StringVar(&role, "role", "", "server, admin, operator, submit, read or worker")
	f.StringVar(&r.Name, "name", "", "who it is for")
	f.StringArrayVar(&r.Hosts, "host", nil, "a name or IP address of the server; may be given several times")
	f.StringVar(&out, "out", "", "folder for the files (default: "+tlsDir+"/NAME)")
	validity(cmd, &days, "days", "the certificate", pki.Validity)
	return cmd
}

func (a *app) tlsCert(from string, i issue) error {
	ca, err := pki.ReadCA(from)
	if err != nil {
		return err
	}
	if i.Role == task.RoleServer {
		i.Hosts = withLoopback(i.Hosts)
	}
	file, err := makeCert(ca, i, time.Now())
	if task.KindOf(err) == task.KindInvalid {
		return usageOf(err)
	}
	if err != nil {
		return err
	}
	if a.format != formatTable {
		return a.printMade([]madeFile{file})
	}
	return a.print("Made %s, %s and %s.\n", file.cert, file.key, filepath.Join(i.dir, pki.BundleFile))
}

func makeCert(ca *pki.CA, i issue, now time.Time) (madeFile, error) {
	pair, err := ca.Issue(i.Request, now)
	if err != nil {
		return madeFile{}, err
	}
	cert, key := pki.Names(i.Role)
	return madeFile{filepath.Join(i.dir, cert), filepath.Join(i.dir, key)}, ca.Write(i.dir, i.Role, pair)
}
