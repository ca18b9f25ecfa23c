package main

import (
	"bufio"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/hone-ml/hone/runner"
)

// progress shows a run on standard error: a line a running stage on a terminal, JSON lines anywhere else.
type progress interface {
	update(runner.Update)
	live() bool // whether the stages were seen as they ended
	close()
}

func newProgress(w io.Writer) progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return newTerminal(f)
	}
	out := bufio.NewWriter(w)
	return &jsonLines{out: out, log: zerolog.New(out).With().Timestamp().Logger(), said: map[string]time.Time{}}
}

// jsonLines writes zerolog's JSON, progress of a stage no more than each few seconds.
type jsonLines struct {
	mu   sync.Mutex
	out  *bufio.Writer // holds what is said of stages that are reused, until anything else is
	log  zerolog.Logger
	said map[string]time.Time
}

const progressEvery = 5 * time.Second

func (j *jsonLines) live() bool { return false }

func (j *jsonLines) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.out.Flush()
}

// say says a line that is of no stage.
func (j *jsonLines) say(e *zerolog.Event, line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Msg(line)
	j.out.Flush()
}

func (j *jsonLines) update(u runner.Update) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if u.Ended == nil || u.Ended.Status != runner.Reused {
		defer j.out.Flush()
	}
	name := u.Stage.Name
	if s := u.Ended; s != nil {
		e := j.log.Info()
		if s.Status == runner.Failed && !s.Interrupted {
			e = j.log.Error().Str("error", s.Error)
		} else if s.Error != "" {
			e = j.log.Warn().Str("reason", s.Error)
		}
		status, _ := ended(s)
		e.Str("stage", name).Str("status", status).Float64("seconds", s.Seconds).Msg("ended")
		for _, note := range s.Notes {
			j.log.Warn().Str("stage", name).Msg(note)
		}
		for _, f := range s.Failures {
			j.log.Error().Str("stage", name).Str("suite", f.Suite).Msg("gate fails: " + f.Why)
		}
		return
	}
	switch e := u.Event; e.Event {
	case "planned":
		j.log.Info().Str("stage", name).Str("kind", u.Stage.Kind).Str("action", string(u.Stage.Action)).Msg("begins")
	case "log", "waits":
		level, err := zerolog.ParseLevel(e.Level)
		if err != nil || e.Level == "" {
			level = zerolog.InfoLevel
		}
		j.log.WithLevel(level).Str("stage", name).Msg(e.Message)
	case "metric":
		line := j.log.Info().Str("stage", name).Int64("step", e.Step)
		for _, m := range sortedNames(e.Values) {
			if m != "time" {
				line.Float64(m, e.Values[m])
			}
		}
		line.Msg("metric")
	case "checkpoint":
		if e.Unit == "steps" {
			j.log.Info().Str("stage", name).Int64("step", e.Step).Msg("checkpoint")
		} else {
			j.log.Info().Str("stage", name).Int64("done", e.Step).Str("unit", e.Unit).Msg("checkpoint")
		}
	case "progress":
		if now := time.Now(); now.Sub(j.said[name]) >= progressEvery {
			j.said[name] = now
			j.log.Info().Str("stage", name).Int64("done", e.Done).Int64("total", e.Total).Str("unit", e.Unit).Msg("progress")
		}
	}
}
