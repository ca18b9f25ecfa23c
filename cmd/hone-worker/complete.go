package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/stages/model"
)

// exitEnvironment is the exit code, and the code of a reply, where this machine or this worker lacks something.
const exitEnvironment = 6

// complete answers the requests on in until it ends and returns the exit code. The first line names the model.
func complete(in io.Reader, out io.Writer) int {
	// Ctrl-C goes to every process of the terminal. What it ends is for hone to say, by a cancelling line.
	signal.Ignore(os.Interrupt)
	w := json.NewEncoder(out)
	say := func(r job.CompleteReply) { _ = w.Encode(r) } // where nobody reads it, the end of in follows
	refuse := func(code int, err error) int {
		say(job.CompleteReply{Error: err.Error(), Code: code})
		return code
	}
	lines := readLines(in)
	first, err := lines.next()
	switch {
	case err != nil:
		return refuse(1, err)
	case first.Protocol != job.Protocol:
		return refuse(exitEnvironment, fmt.Errorf("protocol %d, this worker speaks %d: install hone and hone-worker of one version", first.Protocol, job.Protocol))
	case first.Model == nil:
		return refuse(1, errors.New("the first line names no model"))
	}
	if _, err := model.Numerics(&job.Job{Kind: "generate", Device: first.Device, Threads: max(1, first.Threads)}); err != nil {
		return refuse(exitEnvironment, err)
	}
	var s *model.Speaker
	if err := tensor.Guard(func() (err error) { s, err = model.OpenSpeaker(*first.Model); return err }); err != nil {
		return refuse(1, err)
	}
	defer s.Close()
	say(job.CompleteReply{Ready: &job.CompleteReady{Plain: s.Template.Substituted}})
	for {
		r, err := lines.next()
		if errors.Is(err, io.EOF) {
			return 0
		}
		var reply job.CompleteReply
		if err == nil {
			err = tensor.Guard(func() (err error) {
				defer tensor.Open().Close()
				reply.Answer, err = answer(s, r, lines.cancelled, say)
				return err
			})
		}
		if err != nil {
			reply = job.CompleteReply{Error: err.Error(), Code: 1}
		}
		if w.Encode(reply) != nil {
			return 1
		}
	}
}

// requests are lines that are read while an answer is under way, so that one can end it.
type requests struct {
	lines  chan line
	cancel chan struct{} // holds one where the answer under way is to end
	gone   chan struct{} // closed at the end of input: nobody waits for answers
}

type line struct {
	request *job.CompleteRequest
	err     error
}

func readLines(in io.Reader) *requests {
	q := &requests{lines: make(chan line), cancel: make(chan struct{}, 1), gone: make(chan struct{})}
	go func() {
		defer close(q.gone)
		b := bufio.NewReader(in)
		for {
			text, err := b.ReadBytes('\n')
			if err != nil {
				return
			}
			r := &job.CompleteRequest{}
			err = json.Unmarshal(text, r)
			if err == nil && r.Cancel {
				select {
				case q.cancel <- struct{}{}:
				default:
				}
				continue
			}
			q.lines <- line{r, err}
		}
	}()
	return q
}

// next waits for a request; io.EOF where none follows. What was cancelled before it came is over.
func (q *requests) next() (*job.CompleteRequest, error) {
	select {
	case l := <-q.lines:
		select {
		case <-q.cancel:
		default:
		}
		return l.request, l.err
	case <-q.gone:
		return nil, io.EOF
	}
}

// cancelled reports whether the answer under way is no longer wanted.
func (q *requests) cancelled() bool {
	select {
	case <-q.cancel:
		return true
	case <-q.gone:
		return true
	default:
		return false
	}
}

// answer completes one conversation. stop is asked after each token.
func answer(s *model.Speaker, r *job.CompleteRequest, stop func() bool, say func(job.CompleteReply)) (*job.Completion, error) {
	vars, err := variables(r)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	prompt, err := s.Prompt(ctx, vars)
	if err != nil {
		return nil, err
	}
	limit, warning, err := s.Fits(len(prompt), r.MaxNewTokens, r.Fit)
	if err != nil {
		return nil, err
	}
	if warning != "" {
		say(job.CompleteReply{Warning: warning})
	}
	q := s.Request(prompt, sample.Options{Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK, MinP: r.MinP,
		RepetitionPenalty: r.RepetitionPenalty, Seed: r.Seed}, limit, nil)
	if r.IgnoreEOS {
		q.End = nil
	}
	q.Stop = func([]int32) bool { return stop() }
	stream := s.Tokenizer.NewStream()
	delta := func(text string) {
		if text != "" {
			say(job.CompleteReply{Delta: text})
		}
	}
	q.Token = func(t int32) { delta(stream.Next(t)) }
	c := &job.Completion{PromptTokens: len(prompt), Tokens: []int32{}}
	q.Done = func(tokens []int32) error {
		delta(stream.Flush())
		c.Tokens = append(c.Tokens, tokens...)
		c.Text = s.Text(tokens)
		return nil
	}
	start := time.Now()
	if err := sample.Generate(ctx, s.Model, []*sample.Request{q}, 1); err != nil {
		return nil, err
	}
	c.Seconds = time.Since(start).Seconds()
	c.TokensPerSecond = float64(len(c.Tokens)) / math.Max(c.Seconds, 1e-9)
	return c, nil
}

func variables(r *job.CompleteRequest) (chat.Vars, error) {
	v := chat.Vars{Date: time.Now()}
	var err error
	if r.Date != "" {
		if v.Date, err = time.Parse(time.DateOnly, r.Date); err != nil {
			return v, err
		}
	}
	messages, err := ordjson.Parse(r.Messages)
	if err != nil {
		return v, err
	}
	if v.Messages, err = chat.Messages(messages); err != nil {
		return v, err
	}
	if len(r.Tools) > 0 {
		if v.Tools, err = ordjson.Parse(r.Tools); err != nil {
			return v, err
		}
	}
	if len(r.Vars) > 0 {
		extra, err := ordjson.Parse(r.Vars)
		if err != nil {
			return v, err
		}
		v.Extra, _ = extra.(*ordjson.Object)
	}
	return v, nil
}
