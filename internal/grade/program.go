package grade

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/program"
	"github.com/hone-ml/hone/schemas"
)

const (
	programMemory = 4 << 30 // bytes that each process of a program may write to
	lineLimit     = 1 << 20 // bytes of a line that it writes
)

// RowTime is how long a program has for a row, its start included; shorter in tests.
var RowTime = time.Minute

// running is a program that scores: it reads a line a completion and writes a line a score. It starts with the first
// completion and ends with Close. In a run that is resumed it starts anew, so it should remember nothing of earlier lines.
type running struct {
	cmd    *exec.Cmd
	dir    string // its working folder
	log    string // file of its standard error
	group  *program.Group
	stdin  *os.File
	lines  chan string // of its standard output, closed at its end
	broken error
}

func newProgram(g *schemas.Program, env Env) (_ *Grader, err error) {
	p := &running{log: env.Log}
	if p.dir, err = os.MkdirTemp(env.Dir, "grader-"); err != nil {
		return nil, err
	}
	fail := func(err error) (*Grader, error) {
		os.RemoveAll(p.dir)
		return nil, fmt.Errorf("exec.%w", err)
	}
	file := func(i int) string { return env.File(fmt.Sprintf("exec.files[%d]", i)) }
	if err := program.CopyFiles(p.dir, g.Files, file); err != nil {
		return fail(err)
	}
	// Python holds lines back where they go to a pipe, and then never sees the next one.
	extra := map[string]string{"PYTHONUNBUFFERED": "1"}
	if p.cmd, err = program.Command(g.Command, p.dir, program.Environment(env.Threads, extra)); err != nil {
		return fail(fmt.Errorf("command: %w", err))
	}
	return &Grader{score: p.score, close: p.close}, nil
}

func (p *running) start() error {
	stderr, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer stderr.Close()
	fromUs, stdin, err := os.Pipe()
	if err != nil {
		return err
	}
	defer fromUs.Close()
	p.stdin = stdin
	stdout, toUs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer toUs.Close()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = fromUs, toUs, stderr
	if p.group, err = program.Start(p.cmd, programMemory); err != nil {
		stdout.Close()
		return program.Failure(p.cmd, err, "")
	}
	p.lines = make(chan string)
	go func() {
		defer stdout.Close()
		defer close(p.lines)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, lineLimit)
		for scanner.Scan() {
			p.lines <- scanner.Text()
		}
		if errors.Is(scanner.Err(), bufio.ErrTooLong) {
			p.lines <- fmt.Sprintf("a line of more than %d bytes", lineLimit)
		}
		_, _ = io.Copy(io.Discard, stdout) // so that a program which writes on can end
	}()
	return nil
}

// score hands a completion to the program and reads its score. After an error, other than the context's, it scores no more.
func (p *running) score(ctx context.Context, c Completion, _ string) (float64, error) {
	if p.broken == nil {
		x, err := p.ask(ctx, c)
		if err == nil {
			return x, nil
		}
		p.broken = &Fatal{fmt.Errorf("exec: %w", err)}
		p.end()
	}
	return 0, p.broken
}

func (p *running) ask(ctx context.Context, c Completion) (float64, error) {
	if p.group == nil {
		if err := p.start(); err != nil {
			return 0, err
		}
	}
	line := ordjson.Append(nil, ordjson.New(ordjson.Member{Key: "prompt", Value: c.Prompt},
		ordjson.Member{Key: "completion", Value: c.Text}, ordjson.Member{Key: "row", Value: c.Row}))
	late := time.NewTimer(RowTime)
	defer late.Stop()
	written := make(chan error, 1)
	go func() { // a program that does not read fills the pipe: it is ended below, and this with it
		_, err := p.stdin.Write(append(line, '\n'))
		written <- err
	}()
	select {
	case answer, ok := <-p.lines:
		if !ok {
			return 0, p.death()
		}
		x, err := parseScore(answer)
		if err != nil {
			return 0, err
		}
		select {
		case err = <-written:
		case <-late.C:
			err = errors.New("it answered a line before it had read it")
		}
		return x, err
	case <-late.C:
		return 0, fmt.Errorf("%s wrote no score in %v; does it flush its output after each line?%s", p.cmd.Args[0], RowTime, p.said())
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// parseScore reads {"score": x}.
func parseScore(line string) (float64, error) {
	var got struct {
		Score *float64 `json:"score"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(line)))
	if err := d.Decode(&got); err != nil || got.Score == nil || d.More() {
		return 0, fmt.Errorf(`%.200q where a line {"score": x} is wanted`, line)
	}
	return *got.Score, nil
}

// death says how a program ended that was to go on.
func (p *running) death() error {
	err := errors.New(p.cmd.Args[0] + " closed its standard output")
	select {
	case ended := <-p.group.Done:
		if err = errors.New(p.cmd.Args[0] + " ended before it had scored every line"); ended != nil {
			return program.Failure(p.cmd, ended, program.Tail(p.log))
		}
	case <-time.After(time.Second):
	}
	return fmt.Errorf("%w%s", err, p.said())
}

func (p *running) said() string {
	if last := program.Tail(p.log); last != "" {
		return "; its last lines:\n" + last
	}
	return ""
}

// close lets the program end, and checks that it had nothing more to say: a line too many means that scores went to the
// wrong rows.
func (p *running) close() error {
	defer os.RemoveAll(p.dir)
	if p.group == nil || p.broken != nil {
		p.end()
		return nil
	}
	defer p.end()
	p.stdin.Close()
	late := time.NewTimer(RowTime)
	defer late.Stop()
	select {
	case line, more := <-p.lines:
		if more {
			return fmt.Errorf("exec: %s wrote more lines than it was given: %.200q", p.cmd.Args[0], line)
		}
		select {
		case err := <-p.group.Done:
			if err != nil {
				return fmt.Errorf("exec: %w", program.Failure(p.cmd, err, program.Tail(p.log)))
			}
			return nil
		case <-late.C:
		}
	case <-late.C:
	}
	return fmt.Errorf("exec: %s had not ended %v after its last line", p.cmd.Args[0], RowTime)
}

// end ends the program and whatever it started.
func (p *running) end() {
	if p.group == nil {
		return
	}
	p.group.Kill()
	p.stdin.Close()
	go func() { // its output ends now
		for range p.lines {
		}
	}()
}
