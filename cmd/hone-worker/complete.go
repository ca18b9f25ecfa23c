package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/stages/model"
)

// complete answers the requests on in until it ends and returns the exit code. The first line names the model.
func complete(in io.Reader, out io.Writer) int {
	lines := bufio.NewReader(in)
	w := json.NewEncoder(out)
	var first job.CompleteRequest
	if err := next(lines, &first); err != nil || first.Model == nil {
		w.Encode(job.CompleteReply{Error: "the first line names no model"})
		return 2
	}
	if first.Threads > 0 {
		tensor.SetThreads(first.Threads)
	}
	var s *model.Speaker
	err := tensor.Guard(func() (err error) { s, err = model.OpenSpeaker(*first.Model); return err })
	if err != nil {
		w.Encode(job.CompleteReply{Error: err.Error()})
		return 1
	}
	defer s.Close()
	w.Encode(job.CompleteReply{Ready: &job.CompleteReady{Plain: s.Template.Substituted}})
	for {
		var r job.CompleteRequest
		err := next(lines, &r)
		if errors.Is(err, io.EOF) {
			return 0
		}
		var reply job.CompleteReply
		if err == nil {
			err = tensor.Guard(func() error {
				defer tensor.Open().Close()
				answer, err := answer(s, &r, func(delta string) { w.Encode(job.CompleteReply{Delta: delta}) })
				reply.Answer = answer
				return err
			})
		}
		if err != nil {
			reply = job.CompleteReply{Error: err.Error()}
		}
		if w.Encode(reply) != nil {
			return 1
		}
	}
}

func next(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func answer(s *model.Speaker, r *job.CompleteRequest, delta func(string)) (*job.Completion, error) {
	vars, err := variables(r)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	prompt, err := s.Prompt(ctx, vars)
	if err != nil {
		return nil, err
	}
	q := s.Request(prompt, sample.Options{Temperature: r.Temperature, TopP: r.TopP, TopK: r.TopK, MinP: r.MinP,
		RepetitionPenalty: r.RepetitionPenalty, Seed: r.Seed}, r.MaxNewTokens, nil)
	if r.IgnoreEOS {
		q.End = nil
	}
	stream := s.Tokenizer.NewStream()
	q.Token = func(t int32) {
		if text := stream.Next(t); text != "" {
			delta(text)
		}
	}
	c := &job.Completion{PromptTokens: len(prompt), Tokens: []int32{}}
	q.Done = func(tokens []int32) error {
		if rest := stream.Flush(); rest != "" {
			delta(rest)
		}
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
