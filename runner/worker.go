package runner

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
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

const (
	lineLimit   = 1 << 20          // bytes of one line of the protocol
	afterDone   = 10 * time.Second // that a worker has to end once it has said done
	stderrLines = 8                // of a failed worker that its error shows
	stderrTail  = 64 << 10         // bytes looked at for them
)

// ending is how a worker ended well.
type ending struct {
	numerics job.Numerics
	metrics  map[string]float64
	resumed  bool // a checkpoint was of use
}

// start has a worker do the job in a.dir. The worker holds the key's lock too, and its standard input ends when this
// process does, however that comes about.
func (a *attempt) start(ctx context.Context) (*ending, error) {
	argv, env, err := a.program()
	if err != nil {
		return nil, err
	}
	stderr, err := os.OpenFile(filepath.Join(a.log(), "stderr.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	cmd := exec.Command(argv[0], append(argv[1:], "stage", a.dir)...)
	cmd.Dir, cmd.Env, cmd.Stderr = a.dir, env, stderr
	cmd.ExtraFiles = []*os.File{a.lock.File}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, &job.Error{Path: argv[0], Message: err.Error(), Code: 6, Err: err}
	}
	w := &worker{attempt: a, process: cmd.Process, lines: make(chan job.Event), broken: make(chan error, 1)}
	go w.read(stdout)
	w.follow(ctx)
	waited := cmd.Wait()
	return w.verdict(ctx, waited, tail(stderr.Name()))
}

// worker is a process at work.
type worker struct {
	*attempt
	process *os.Process
	lines   chan job.Event
	broken  chan error // what was wrong with a line
	started *job.Numerics
	done    *job.Event
	failure *job.Error
	ended   error // why this side ended it
	noted   time.Time
	resumed bool // it has said so
}

// read parses the lines of the protocol. It ends at the end of the worker's output, or at a line that is not one.
func (w *worker) read(stdout io.Reader) {
	defer close(w.lines)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 64<<10), lineLimit)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var e job.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Event == "" {
			w.broken <- fmt.Errorf("the worker wrote a line that is not of the protocol: %.200q", lines.Text())
			_, _ = io.Copy(io.Discard, stdout)
			return
		}
		w.lines <- e
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		w.broken <- fmt.Errorf("the worker wrote a line of more than %d bytes", lineLimit)
		_, _ = io.Copy(io.Discard, stdout)
	}
}

// follow takes events in until the output ends, and ends a worker that is silent, breaks the protocol or is no
// longer wanted. Silence is counted in ticks, so that a machine that slept has not been silent.
func (w *worker) follow(ctx context.Context) {
	tick := time.NewTicker(w.opts.Silence / 60)
	defer tick.Stop()
	silent := 0
	cancelled := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case e, ok := <-w.lines:
			if !ok {
				select {
				case err := <-w.broken:
					w.end(err)
				default:
				}
				return
			}
			silent = 0
			if w.take(e); e.Event == "done" || e.Event == "error" {
				kill = time.After(afterDone)
			}
		case err := <-w.broken:
			w.end(err)
		case <-tick.C:
			if silent++; silent > 60 && w.done == nil {
				w.end(fmt.Errorf("the worker has said nothing for %v", w.opts.Silence))
			}
		case <-cancelled:
			cancelled = nil
			w.process.Signal(syscall.SIGTERM)
			kill = time.After(w.opts.Grace)
		case <-kill:
			w.process.Kill()
		}
	}
}

func (w *worker) end(why error) {
	if w.ended == nil {
		w.ended = why
	}
	w.process.Kill()
}

// take brings one event in.
func (w *worker) take(e job.Event) {
	switch e.Event {
	case "start":
		w.started = e.Numerics
		if w.started == nil {
			w.started = &job.Numerics{Device: w.res.numerics.Device, Threads: w.res.numerics.Threads}
		}
		if err := w.noteNumerics(); err != nil {
			w.end(err)
		}
	case "resumed":
		w.resumed = true
	case "done":
		w.done = &e
	case "log":
		w.noteMessage(e)
	case "error":
		w.failure = &job.Error{Path: e.Path, Message: e.Message, Code: max(e.Code, 1)}
	}
	if w.far.take(e) || time.Since(w.noted) > noteEvery {
		w.far.note(w.checkpoints())
		w.noted = time.Now()
	}
	w.observe(Update{Stage: w.plan, Event: e})
}

// noteMessage keeps what the worker says beside its metrics. That it cannot be written is no reason to fail.
func (w *worker) noteMessage(e job.Event) {
	f, err := os.OpenFile(filepath.Join(w.log(), MessagesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	_ = json.NewEncoder(f).Encode(Message{e.Level, e.Message})
}

// Message is a line of MessagesFile in a stage's log: what its worker said.
type Message struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

const MessagesFile = "messages.jsonl"

// noteNumerics keeps what the checkpoint's bits depend on beside it, and refuses to go on from another's.
func (w *worker) noteNumerics() error {
	path := filepath.Join(w.checkpoints(), "numerics.json")
	now, err := json.Marshal(w.started)
	if err != nil {
		return err
	}
	var before job.Numerics
	if b, err := os.ReadFile(path); err == nil && w.res.resume && json.Unmarshal(b, &before) == nil && before != *w.started {
		return &job.Error{Code: 6, Message: fmt.Sprintf("the checkpoint of %s was made with %s; here it is %s, and the bits would differ: run it there, or begin anew with --force %s",
			w.res.unfinished.At(), before, *w.started, w.stage.Name)}
	}
	return os.WriteFile(path, now, 0o644)
}

// verdict makes of the process's end what its user should read.
func (w *worker) verdict(ctx context.Context, waited error, stderr string) (*ending, error) {
	fail := func(format string, args ...any) *job.Error {
		code, message := 1, fmt.Sprintf(format, args...)
		if stderr != "" {
			message += "\n" + stderr
		}
		if strings.Contains(strings.ToLower(message), "no space left on device") {
			code = 6
		}
		return &job.Error{Message: message, Code: code}
	}
	var exit *exec.ExitError
	status := syscall.WaitStatus(0)
	if errors.As(waited, &exit) {
		status, _ = exit.Sys().(syscall.WaitStatus)
	}
	var refused *job.Error
	switch {
	case errors.As(w.ended, &refused):
		return nil, refused
	case w.ended != nil:
		return nil, fail("%v", w.ended)
	case w.failure != nil:
		if strings.Contains(strings.ToLower(w.failure.Message), "no space left on device") {
			w.failure.Code = 6
		}
		return nil, w.failure
	case w.done != nil && w.started != nil: // it has said so; how it ended after that is no matter
		return &ending{*w.started, w.done.Values, w.resumed}, nil
	case ctx.Err() != nil:
		return nil, errInterrupted
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return nil, fail("the worker was killed (signal 9)%s", w.spare(exit))
	case status.Signaled():
		return nil, fail("the worker crashed: %v", status.Signal())
	case status.ExitStatus() == 130:
		return nil, fail("the worker was interrupted")
	case waited != nil:
		return nil, fail("the worker ended without a result: %v", waited)
	}
	return nil, fail("the worker ended without a result")
}

// spare says of a killed process how much memory it had taken, of how much, and which fields take less.
func (w *worker) spare(exit *exec.ExitError) string {
	said := ""
	if usage, ok := exit.SysUsage().(*syscall.Rusage); ok && runtime.GOOS == "linux" { // elsewhere it is in another unit
		taken, limit := int64(usage.Maxrss)<<10, memory.Limit()
		said = " when it had taken " + store.Size(taken)
		if limit > 0 {
			said += " of " + store.Size(limit)
		}
	}
	said += ": " + kernel() + " ends processes so when memory runs out"
	if _, advice := schemas.Spares(w.stage.Kind, w.stage.Config); advice != "" {
		said += "; " + advice
	}
	return said
}

func kernel() string {
	if runtime.GOOS == "linux" {
		return "Linux"
	}
	return "the system"
}
