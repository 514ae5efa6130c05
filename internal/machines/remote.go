package machines

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// socketName is that of the socket in /run/machines of each machine.
const socketName = "control"

// The names under which a test binary is ssh and scp.
const (
	sshName = "ssh"
	scpName = "scp"
)

// ask is what ssh and scp send: who asks, from which folder, and their arguments. What ssh reads from its standard input
// follows.
type ask struct {
	Program, Machine, Folder string
	Args                     []string
}

// answer is a piece of output, or the end with an exit code.
type answer struct {
	Out, Err []byte
	Done     bool
	Code     int
}

// Main is called first by TestMain. In a machine the test binary is also ssh and scp, and then Main does not return.
func Main() {
	program := filepath.Base(os.Args[0])
	if program != sshName && program != scpName {
		return
	}
	code, err := callControl(program, os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		code = 255
	}
	os.Exit(code)
}

func callControl(program string, args []string) (int, error) {
	conn, err := net.Dial("unix", filepath.Join("/run/machines", socketName))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	name, err := os.Hostname()
	if err != nil {
		return 0, err
	}
	folder, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	if err := json.NewEncoder(conn).Encode(ask{program, name, folder, args}); err != nil {
		return 0, err
	}
	for dec := json.NewDecoder(conn); ; {
		var a answer
		if err := dec.Decode(&a); err != nil {
			return 0, err
		}
		if err := errors.Join(write(os.Stdout, a.Out), write(os.Stderr, a.Err)); err != nil {
			return 0, err
		}
		if a.Done {
			return a.Code, nil
		}
	}
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

// control answers ssh and scp of all machines of a LAN.
type control struct {
	lan      *LAN
	dir      string
	listener net.Listener
	running  sync.WaitGroup
}

func serve(l *LAN) *control {
	l.t.Helper()
	c := &control{lan: l, dir: filepath.Join(l.dir, "c")}
	if err := os.Mkdir(c.dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(c.dir, socketName))
	if err != nil {
		l.t.Fatal(err)
	}
	c.listener = listener
	c.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			c.running.Go(func() { c.handle(conn) })
		}
	})
	return c
}

// close waits until nobody is answered any more. The machines have ended before.
func (c *control) close() {
	_ = c.listener.Close()
	c.running.Wait()
}

func (c *control) handle(conn net.Conn) {
	defer conn.Close()
	var a ask
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return
	}
	out := &sender{enc: json.NewEncoder(conn)}
	cmd, err := c.command(a)
	if err == nil {
		cmd.Stdout, cmd.Stderr = stream{out, false}, stream{out, true}
		err = cmd.Run()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		err = out.send(answer{Done: true, Code: exit.ExitCode()})
	case err != nil:
		err = out.send(answer{Done: true, Code: 255, Err: []byte(err.Error() + "\n")})
	default:
		err = out.send(answer{Done: true})
	}
	_ = err // whoever asked is gone
}

// command returns what ssh or scp does.
func (c *control) command(a ask) (*exec.Cmd, error) {
	from := c.lan.find(a.Machine)
	if from == nil {
		return nil, fmt.Errorf("%s is no machine of this network", a.Machine)
	}
	if a.Program == sshName {
		if len(a.Args) < 2 {
			return nil, errors.New("expected HOST COMMAND")
		}
		to := c.lan.find(hostOf(a.Args[0]))
		if to == nil {
			return nil, fmt.Errorf("could not resolve hostname %s", a.Args[0])
		}
		return to.Command("sh", "-c", strings.Join(a.Args[1:], " ")), nil
	}
	var args []string
	paths := a.Args
	for len(paths) > 0 && strings.HasPrefix(paths[0], "-") {
		args, paths = append(args, paths[0]), paths[1:]
	}
	if len(paths) < 2 {
		return nil, errors.New("expected FILE... TO")
	}
	for _, p := range paths {
		m, path := from, p
		if host, rest, remote := strings.Cut(p, ":"); remote {
			if m, path = c.lan.find(hostOf(host)), rest; m == nil {
				return nil, fmt.Errorf("could not resolve hostname %s", host)
			}
			if !filepath.IsAbs(path) {
				path = filepath.Join("/root", path)
			}
		} else if !filepath.IsAbs(path) {
			path = a.Folder + "/" + path // a dot at the end has a meaning
		}
		args = append(args, fmt.Sprintf("/proc/%d/root%s", m.pid.Load(), path))
	}
	return exec.Command("cp", args...), nil
}

// hostOf leaves out the user.
func hostOf(arg string) string {
	if _, host, ok := strings.Cut(arg, "@"); ok {
		return host
	}
	return arg
}

// sender sends answers of several goroutines.
type sender struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func (s *sender) send(a answer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enc.Encode(a)
}

// stream sends output.
type stream struct {
	to     *sender
	stderr bool
}

// Write implements io.Writer.
func (s stream) Write(data []byte) (int, error) {
	a := answer{Out: data}
	if s.stderr {
		a = answer{Err: data}
	}
	return len(data), s.to.send(a)
}

// linkRemote makes ssh and scp of the machine.
func (m *Machine) linkRemote() {
	self, err := os.Executable()
	if err != nil {
		m.lan.t.Fatal(err)
	}
	for _, name := range []string{sshName, scpName} {
		// A copy: the folder of the test binary may be one that the machine does not see.
		path := filepath.Join(m.dir, "changes/usr/local/bin", name)
		if err := os.Link(self, path); err == nil {
			continue
		}
		data, err := os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(path, data, 0o755)
		}
		if err != nil {
			m.lan.t.Fatal(err)
		}
	}
}
