// Package stages is the worker's side of a job: open what a stage reads, say how far it is, finish.
//
//	Stage     the work of one kind: a function from a Job to its filled out folders
//	Job       what the stage is given: config, inputs, files, out ports, and what it reports
//	Registry  the stages that a program can do, by kind
//	Main      one job from job.json to an exit code, speaking the protocol of package job
//
// docs/worker.md is the prose of it. A stage returns an error rather than printing it, writes nothing but its
// out ports, its checkpoints and its log folder, and returns soon after its context is cancelled.
package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/memory"
	"github.com/hone-ml/hone/schemas"
)

// Stage does the work of one kind. It reads j's inputs and fills its out folders. When ctx is cancelled it saves a
// checkpoint, where it has any, and returns ctx.Err() within Grace.
type Stage func(ctx context.Context, j *Job) error

// Registry is the stages of a program by kind.
type Registry map[string]Stage

// NumericsFunc tells what a job's bits will depend on besides its key, before the stage begins. An error is the
// environment's: no such device, no libtorch.
type NumericsFunc func(*job.Job) (job.Numerics, error)

// Grace is how long a cancelled stage has to save a checkpoint before its process ends.
const Grace = 10 * time.Second

// Exit codes of a worker, as the command line defines them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitEnvironment = 6
	exitInterrupted = 130
)

// Main does the job in the folder dir and returns the exit code. Standard output carries the events; anything else
// that the process prints there, C libraries included, goes to standard error. SIGTERM, SIGINT, SIGHUP and the end of
// standard input (the runner has gone) cancel the stage. A nil numerics is that of a process without tensors.
func Main(dir string, registry Registry, numerics NumericsFunc) int {
	// Descriptor 3 is the lock of the stage's key, handed down by the runner. It is to end with this process, not with a
	// program that a stage starts.
	syscall.CloseOnExec(job.SharedConn)
	return main(func(ctx context.Context, out io.Writer) int { return Run(ctx, dir, registry, numerics, out) })
}

// Serve does one job after another, as the runner hands them over, until there are no more or one is cancelled. Each has standard
// error and the working folder as if the process were its own.
func Serve(registry Registry, numerics NumericsFunc) int {
	syscall.CloseOnExec(job.SharedConn)
	jobs, err := job.Conn(os.NewFile(job.SharedConn, "jobs"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitEnvironment
	}
	return main(func(ctx context.Context, out io.Writer) int {
		first := int64(0) // bytes that the process held before its first job
		for {
			dir, lock, err := job.Take(jobs)
			if errors.Is(err, io.EOF) {
				return exitDone
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return exitEnvironment
			}
			if err := settle(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return exitEnvironment
			}
			held, most := memory.Watch()
			if first == 0 {
				first = held
			}
			if code := Run(ctx, dir, registry, numerics, out); ctx.Err() != nil {
				return code
			}
			idle := job.Event{Event: job.Idle, Memory: most()}
			if held-first > idle.Memory/4 { // an earlier job's would count as this one's
				idle.Memory = 0
			}
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); max(m.HeapInuse, m.NextGC) > spareHeap {
				debug.FreeOSMemory()
			}
			lock.Close()
			if err := json.NewEncoder(out).Encode(idle); err != nil {
				return exitFailed
			}
		}
	})
}

// spareHeap is what a process that has ended a job may keep for the next, in bytes, and how far it lets that one go before it collects.
const spareHeap = 16 << 20

// settle goes to a job's folder and sends standard error, and what is printed beside the events, to its log.
func settle(dir string) error {
	j, err := job.Read(dir)
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return err
	}
	stderr, err := os.OpenFile(filepath.Join(j.Log, "stderr.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer stderr.Close()
	return errors.Join(redirect(int(stderr.Fd()), 2), redirect(2, 1))
}

// main is what a process does about its surroundings while it is at its jobs.
func main(jobs func(ctx context.Context, out io.Writer) int) int {
	out, err := takeStdout()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitEnvironment
	}
	// A runner that is gone must not end the stage before its checkpoint: without this, a write to the closed pipe would.
	// Not signal.Ignore: programs that a stage starts would inherit it, and a shell's `yes | head` would never end.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // SIGHUP: the terminal was closed
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(gone)
	}()
	go func() {
		select {
		case <-signals:
		case <-gone:
		}
		cancel()
		time.Sleep(Grace)
		os.Exit(exitInterrupted)
	}()
	return jobs(ctx, out)
}

// Run does the job in the folder dir, writes its events to w and returns the exit code.
func Run(ctx context.Context, dir string, registry Registry, numerics NumericsFunc, w io.Writer) int {
	events := newEmitter(w)
	defer events.stop()
	j, stage, err := open(dir, registry, events)
	if err != nil {
		return finish(ctx, events, err)
	}
	defer j.close()
	n := job.Numerics{Device: "cpu", Threads: j.Threads}
	if numerics != nil {
		if n, err = numerics(j.Job); err != nil {
			return finish(ctx, events, Environment(err))
		}
	}
	events.send(job.Event{Event: "start", Numerics: &n})
	if err := call(ctx, stage, j); err != nil {
		return finish(ctx, events, err)
	}
	if err := j.filled(); err != nil {
		return finish(ctx, events, err)
	}
	if err := j.saveOrigins(); err != nil {
		return finish(ctx, events, err)
	}
	events.send(job.Event{Event: "done", Values: finite(j.summary), Memory: j.programs})
	return exitDone
}

func open(dir string, registry Registry, events *emitter) (*Job, Stage, error) {
	given, err := job.Read(dir)
	if err != nil {
		return nil, nil, Environment(err)
	}
	stage, ok := registry[given.Kind]
	if !ok {
		return nil, nil, Environment(fmt.Errorf("this program has no stage of kind %s", given.Kind))
	}
	if have := schemas.Implementation(given.Kind); have != given.Implementation {
		return nil, nil, Environment(fmt.Errorf("the plan wants version %d of %s, this worker has %d: install hone and hone-worker of one version",
			given.Implementation, given.Kind, have))
	}
	if given.Threads < 1 {
		return nil, nil, Environment(fmt.Errorf("job.json: threads: %d is below 1", given.Threads))
	}
	return &Job{Job: given, Dir: dir, events: events, summary: map[string]float64{}}, stage, nil
}

// call runs the stage and turns a panic into an error, its stack into a file of the log folder.
func call(ctx context.Context, stage Stage, j *Job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			stack := debug.Stack()
			file := filepath.Join(j.Job.Log, "panic.txt")
			if os.WriteFile(file, fmt.Appendf(nil, "%v\n\n%s", r, stack), 0o644) != nil {
				os.Stderr.Write(stack)
			}
			err = fmt.Errorf("panic: %v (stack in log/panic.txt)", r)
			if e, ok := r.(error); ok && diskFull(e) {
				err = e
			}
		}
	}()
	return stage(ctx, j)
}

// finish reports err and returns its exit code. An interruption is no failure, whatever the stage made of it.
func finish(ctx context.Context, events *emitter, err error) int {
	if ctx.Err() != nil {
		if !errors.Is(err, context.Canceled) {
			events.send(job.Event{Event: "log", Level: "warn", Message: "interrupted: " + err.Error()})
		}
		return exitInterrupted
	}
	e := asError(err)
	events.send(job.Event{Event: "error", Path: e.Path, Message: e.Message, Code: e.Code})
	return e.Code
}
