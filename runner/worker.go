package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	resumed  bool  // a checkpoint was of use
	memory   int64 // bytes at the peak; 0 is not known
}

// start has a worker do the job in a.dir.
func (a *attempt) start(ctx context.Context) (*ending, error) {
	stderr, err := os.OpenFile(filepath.Join(a.log(), "stderr.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	p, err := a.launch(stderr)
	if err != nil {
		return nil, err
	}
	stop := store.Behind(a.dir)
	defer stop()
	w := &worker{attempt: a, process: p, noted: time.Now()}
	w.follow(ctx)
	var waited error
	if w.idle {
		a.processes.give(p)
	} else {
		waited = p.wait()
	}
	end, err := w.verdict(ctx, waited, tail(stderr.Name()))
	switch {
	case end == nil:
	case !w.idle:
		end.memory = memory.Of(p.cmd.ProcessState)
	case w.peak > 0: // not where only the program's is known
		end.memory = max(w.peak, w.done.Memory)
	}
	return end, err
}

// worker is a process at a job.
type worker struct {
	*attempt
	process *process
	started *job.Numerics
	done    *job.Event
	failure *job.Error
	ended   error // why this side ended it
	noted   time.Time
	resumed bool  // it has said so
	idle    bool  // it waits for another job
	peak    int64 // bytes that it had while it was at this one; 0 is not known
}

// follow takes events in until the output or the job ends, and ends a worker that is silent, breaks the protocol or is no
// longer wanted. Silence is counted in ticks, so that a machine that slept has not been silent.
func (w *worker) follow(ctx context.Context) {
	tick := time.NewTicker(w.opts.Silence / 60)
	defer tick.Stop()
	silent := 0
	cancelled := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case e, ok := <-w.process.lines:
			if !ok {
				select {
				case err := <-w.process.broken:
					w.end(err)
				default:
				}
				return
			}
			silent = 0
			if w.idle = e.Event == job.Idle; w.idle {
				w.peak = e.Memory
				return
			}
			if w.take(e); e.Event == "done" || e.Event == "error" {
				kill = time.After(afterDone)
			}
		case err := <-w.process.broken:
			w.end(err)
		case <-tick.C:
			if silent++; silent > 60 && w.done == nil {
				w.end(fmt.Errorf("the worker has said nothing for %v", w.opts.Silence))
			}
		case <-cancelled:
			cancelled = nil
			_ = w.process.cmd.Process.Signal(syscall.SIGTERM)
			kill = time.After(w.opts.Grace)
		case <-kill:
			_ = w.process.cmd.Process.Kill()
		}
	}
}

func (w *worker) end(why error) {
	if w.ended == nil {
		w.ended = why
	}
	_ = w.process.cmd.Process.Kill()
}

// take brings one event in.
func (w *worker) take(e job.Event) {
	switch e.Event {
	case "start":
		w.started = e.Numerics
		if w.started == nil {
			w.started = &job.Numerics{Device: w.res.numerics.Device, Threads: w.res.numerics.Threads}
		}
		if !Inline(w.stage) || w.res.resume { // of the others few keep a checkpoint
			if err := w.noteNumerics(); err != nil {
				w.end(err)
			}
		}
	case "checkpoint":
		if Inline(w.stage) {
			if err := w.noteNumerics(); err != nil {
				w.end(err)
			}
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
	if w.far.take(e) || !Inline(w.stage) && e.Event == "start" || time.Since(w.noted) > noteEvery {
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
		return &ending{numerics: *w.started, metrics: w.done.Values, resumed: w.resumed}, nil
	case ctx.Err() != nil:
		return nil, errInterrupted
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return nil, fail("the worker was killed (signal 9)%s", w.spare(memory.Of(exit.ProcessState), memory.Limit()))
	case status.Signaled():
		return nil, fail("the worker crashed: %v", status.Signal())
	case status.ExitStatus() == 130:
		return nil, fail("the worker was interrupted")
	case waited != nil:
		return nil, fail("the worker ended without a result: %v", waited)
	}
	return nil, fail("the worker ended without a result")
}

// spare says of a killed process how much memory it had taken, of how much, and which fields take less where that was much.
func (w *worker) spare(most, limit int64) string {
	said := ""
	if most > 0 {
		said = " when it had taken " + store.Size(most)
		if limit > 0 {
			said += " of " + store.Size(limit)
		}
	}
	if most > 0 && most < limit/4 {
		return said + ": by somebody, or by " + kernel() + " where others had taken the memory"
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
