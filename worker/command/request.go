//go:build linux

package command

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rota-scheduler/rota/worker/guard"
)

// maxArguments is the most that arguments may have once payloads stand in them,
// bytes. The kernel allows a quarter of the stack, as a rule 2 MiB.
const maxArguments = 2 << 20

// request is what to start for a task, and what to put on its standard input.
func (r *Runner) request(t *Task) (*guard.Request, []byte, error) {
	c := t.Work.Spec
	argv, stdin := c.Command, t.Payload
	if len(argv) == 0 {
		return nil, nil, errors.New("the command is empty")
	}
	if c.Placeholder != "" {
		if bytes.IndexByte(stdin, 0) >= 0 {
			return nil, nil, errors.New("the payload contains a NUL byte, and so cannot be an argument: pass it on standard input, or split the input there with rota map --null")
		}
		var err error
		if argv, err = fillIn(argv, c.Placeholder, string(stdin)); err != nil {
			return nil, nil, err
		}
		stdin = nil
	}
	t.Work.prepare(r.cfg.Addrs)
	env := t.Work.environment(t)
	path, err := t.Work.find(argv[0])
	if err != nil {
		return nil, nil, err
	}
	dir := c.Cwd
	if dir != "" {
		// A relative one counts from the agent's, as the guard has another.
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, nil, fmt.Errorf("find the working directory: %w", err)
		}
	}
	return &guard.Request{
		Exclusive: t.Exclusive, Path: path, Dir: dir, Argv: argv, Env: env,
		Stdin: -1, Stdout: -1, Stderr: -1,
	}, stdin, nil
}

func fillIn(argv []string, placeholder, payload string) ([]string, error) {
	out := make([]string, len(argv))
	size := 0
	for i, a := range argv {
		if n := strings.Count(a, placeholder); n > 0 && size+len(a)+n*len(payload) > maxArguments {
			return nil, fmt.Errorf("the arguments have more than %d bytes with the payload in them: pass it on standard input", maxArguments)
		}
		out[i] = strings.ReplaceAll(a, placeholder, payload)
		size += len(out[i])
	}
	return out, nil
}
