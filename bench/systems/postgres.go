package systems

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/rota-scheduler/rota/bench/child"
)

// postgres is a PostgreSQL of its own in a folder.
type postgres struct {
	process *child.Process
	ports   child.Ports
	url     string
}

// postgresBin is the folder with initdb and postgres; "": there is none. Debian keeps
// them out of PATH.
func postgresBin() string {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err == nil {
		slices.Sort(found)
		slices.Reverse(found)
		for _, dir := range found {
			if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
				return dir
			}
		}
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	return filepath.Dir(path)
}

// ordinaryUser is who runs what refuses to run as root; nil: this user.
func ordinaryUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err, gidErr); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

const postgresConnections = 200

// start makes a database cluster and serves it. What decides durability is left at its
// default, which is to sync each commit; what only costs time is set as for a server
// that is used in earnest.
func (p *postgres) start(ctx context.Context, dir string) error {
	bin := postgresBin()
	as, err := ordinaryUser()
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "pg")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if as != nil {
		if err := os.Chown(data, int(as.Uid), int(as.Gid)); err != nil {
			return err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-locale")
	initdb.Dir = "/"
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("make a database: %w: %s", err, out)
	}
	if p.ports, err = child.TakePorts(1); err != nil {
		return err
	}
	p.url = fmt.Sprintf("postgres://bench@%s/postgres?sslmode=disable", child.Loopback(p.ports[0]))
	p.process, err = child.Start(ctx, child.Config{
		Role: "postgres", Dir: dir, Path: filepath.Join(bin, "postgres"), User: as,
		Args: []string{
			"-D", data, "-p", strconv.Itoa(p.ports[0]), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + data,
			"-c", "max_connections=" + strconv.Itoa(postgresConnections), "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB",
			"-c", "fsync=on", "-c", "synchronous_commit=on",
		},
		// Fast shutdown: clients are not waited for.
		StopSignal: syscall.SIGINT,
		Ready: func(ctx context.Context) error {
			conn, err := pgx.Connect(ctx, p.url)
			if err != nil {
				return err
			}
			return conn.Close(ctx)
		},
	})
	return err
}
