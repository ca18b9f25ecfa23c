package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/runner"
)

// speaker is a hone-worker that has a model open and answers conversations, one at a time.
type speaker struct {
	model   *openedModel
	process *exec.Cmd
	ctx     context.Context // its end kills the process
	mu      sync.Mutex      // of writing requests
	in      io.WriteCloser
	out     *json.Decoder
	said    lastWords
	ready   job.CompleteReady
}

// openSpeaker starts a worker on MODEL. The end of the command's context kills it.
func (f *modelFlags) openSpeaker(c *cobra.Command, name string) (*speaker, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	path, err := findWorker() // before a model is fetched for nothing
	if err != nil {
		return nil, &exit{exitEnvironment, err}
	}
	if f.threads == 0 {
		f.threads = runtime.GOMAXPROCS(0)
	}
	model, err := f.openModel(c, name, true)
	if err != nil {
		return nil, err
	}
	s := &speaker{ctx: c.Context(), model: model}
	if err := s.start(path, f.threads); err != nil {
		model.close()
		return nil, fail(exitEnvironment, "%s: %w\nhone doctor says what is missing", path, err)
	}
	r, err := s.first(&job.CompleteRequest{Protocol: job.Protocol, Model: &model.Input, Device: f.device, Threads: f.threads})
	if err != nil {
		s.close()
		return nil, err
	}
	s.ready = *r
	return s, nil
}

func (s *speaker) start(path string, threads int) (err error) {
	s.process = exec.CommandContext(s.ctx, path, "complete")
	s.process.Stderr, s.process.WaitDelay = &s.said, time.Second
	if s.process.Env, err = runner.WorkerEnv(path, threads); err != nil {
		return err
	}
	if s.in, err = s.process.StdinPipe(); err != nil {
		return err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	s.out = json.NewDecoder(out)
	return s.process.Start()
}

// first sends the line that names the model and waits until it is loaded. A worker that ends before it says anything
// lacks something.
func (s *speaker) first(r *job.CompleteRequest) (*job.CompleteReady, error) {
	s.send(r)
	reply, err := s.reply()
	var coded *exit
	switch {
	case err == nil && reply.Ready != nil:
		return reply.Ready, nil
	case err == nil:
		err = errors.New("hone-worker answered before it was asked")
	case errors.As(err, &coded) || s.ctx.Err() != nil:
		return nil, err
	}
	return nil, fail(exitEnvironment, "%w\nhone doctor says what is missing", err)
}

// ask answers a request; told hears of the text as it comes, and of warnings. The end of ctx ends the answer: what there
// is of it is returned.
func (s *speaker) ask(ctx context.Context, r *job.CompleteRequest, told func(*job.CompleteReply)) (*job.Completion, error) {
	s.send(r)
	cancelled := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cancelled)
		s.send(&job.CompleteRequest{Cancel: true})
	})
	defer func() {
		if !stop() {
			<-cancelled // not to end the next answer
		}
	}()
	for {
		reply, err := s.reply()
		if err != nil || reply.Answer != nil {
			return reply.Answer, err
		}
		told(reply)
	}
}

// send writes a line. Where that fails the process has ended, which reading tells too.
func (s *speaker) send(r *job.CompleteRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = json.NewEncoder(s.in).Encode(r)
}

// reply reads a line. One that is an error comes as such.
func (s *speaker) reply() (*job.CompleteReply, error) {
	r := &job.CompleteReply{}
	if err := s.out.Decode(r); err != nil {
		return r, s.died(err)
	}
	if r.Error != "" {
		return r, fail(max(r.Code, exitFailed), "%s", r.Error)
	}
	return r, nil
}

// died says how a worker ended that should not have.
func (s *speaker) died(reading error) error {
	waited := s.process.Wait()
	if s.ctx.Err() != nil {
		return context.Canceled
	}
	words := "hone-worker ended: "
	var ended *exec.ExitError
	switch {
	case errors.As(waited, &ended):
		words += ended.String()
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			words += ": the system ends processes so when memory runs out"
		}
	case !errors.Is(reading, io.EOF):
		words += reading.Error()
	default:
		words += "without an answer"
	}
	if last := s.said.String(); last != "" {
		words += "\n" + last
	}
	return errors.New(words)
}

// close ends the worker.
func (s *speaker) close() {
	s.in.Close()
	s.process.Process.Kill() // it has nothing to save
	_ = s.process.Wait()
	s.model.close()
}

// lastWords keeps the end of what is written to it.
type lastWords struct{ b []byte }

func (w *lastWords) Write(p []byte) (int, error) {
	const most = 4 << 10
	w.b = append(w.b, p...)
	w.b = w.b[max(0, len(w.b)-most):]
	return len(p), nil
}

// String is the last lines of it.
func (w *lastWords) String() string {
	const most = 8
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(w.b), "")), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

// stripped passes text on without outer white space, as it comes.
type stripped struct {
	to   io.Writer
	held string // white space that belongs to the text if more follows
	some bool   // of the text is written
}

func (w *stripped) write(text string) {
	text = w.held + text
	if !w.some {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	body := strings.TrimRightFunc(text, unicode.IsSpace)
	w.held, w.some = text[len(body):], w.some || body != ""
	fmt.Fprint(w.to, body)
}
