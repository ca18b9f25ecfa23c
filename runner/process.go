package runner

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"

	"github.com/hone-ml/hone/internal/job"
)

// process is a child of this one that does a job, or one after another.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer     // it ends with this process, however that comes about
	jobs   *net.UnixConn // over which it is handed them; nil where it has one alone
	lines  chan job.Event
	broken chan error // what was wrong with a line
}

// processes are those that wait for another job. Starting one costs more than many a stage whose kind needs no tensors.
type processes struct {
	mu   sync.Mutex
	idle []*process
}

func (p *processes) take() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return last
}

func (p *processes) give(c *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// end ends those that wait.
func (p *processes) end() {
	for c := p.take(); c != nil; c = p.take() {
		_ = c.wait() // it has nothing to do
	}
}

// launch has a process do the attempt's job: one that waits for it, or a new one. It holds the key's lock too.
func (a *attempt) launch(stderr *os.File) (*process, error) {
	shared := Inline(a.stage)
	if shared {
		if p := a.processes.take(); p != nil {
			if err := job.Hand(p.jobs, a.dir, a.lock.File); err == nil {
				return p, nil
			}
			_ = p.wait() // it has died: another does it
		}
	}
	argv, env, err := a.program()
	if err != nil {
		return nil, err
	}
	p := &process{lines: make(chan job.Event), broken: make(chan error, 1)}
	what, descriptor := a.dir, a.lock.File
	if shared {
		what = job.Shared
		if p.jobs, descriptor, err = job.Pair(); err != nil {
			return nil, err
		}
		defer descriptor.Close()
	}
	p.cmd = exec.Command(argv[0], append(argv[1:len(argv):len(argv)], "stage", what)...)
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = a.dir, env, stderr
	p.cmd.ExtraFiles = []*os.File{descriptor}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, &job.Error{Path: argv[0], Message: err.Error(), Code: 6, Err: err}
	}
	go p.read(stdout)
	if shared {
		if err := job.Hand(p.jobs, a.dir, a.lock.File); err != nil {
			_ = p.cmd.Process.Kill()
			return nil, errors.Join(err, p.wait())
		}
	}
	return p, nil
}

// wait ends a process that has no job, or waits for one that has ended.
func (p *process) wait() error {
	_ = p.stdin.Close()
	if p.jobs != nil {
		_ = p.jobs.Close()
	}
	for range p.lines { // its output, to the end
	}
	return p.cmd.Wait()
}

// read parses the lines of the protocol. It ends at the end of the worker's output, or at a line that is not one.
func (p *process) read(stdout io.Reader) {
	defer close(p.lines)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), lineLimit)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var e job.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Event == "" {
			p.broken <- fmt.Errorf("the worker wrote a line that is not of the protocol: %.200q", lines.Text())
			_, _ = io.Copy(io.Discard, stdout)
			return
		}
		p.lines <- e
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		p.broken <- fmt.Errorf("the worker wrote a line of more than %d bytes", lineLimit)
		_, _ = io.Copy(io.Discard, stdout)
	}
}
