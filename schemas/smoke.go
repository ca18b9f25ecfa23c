package schemas

import (
	"encoding/json"
	"fmt"
	"maps"
)

// How little a smoke does.
const (
	smokeRows    = 256 // of a source: filters and splits leave some
	smokeTrained = 16  // rows that a training makes ready
	smokeAsked   = 8   // rows that a model answers or is measured on
	smokeSteps   = 2   // the first, and one after an update
	smokeBatch   = 2   // the least at which rows stand beside one another, and kto has another to compare with
	smokeAnswers = 2   // of a prompt: the least to choose among
	smokeTokens  = 16  // of an answer
)

// SmokeVariable is set in the environment of an exec stage's program during a smoke.
const SmokeVariable = "HONE_SMOKE"

// Smoke is what `hone run --smoke` makes of a stage: its configuration, and how many rows it reads of each data set and
// source, 0 for all. A line a kind says what is reduced, and why. What stays is what a smoke is to try: models, templates,
// tokens to train on, maxLength, precision, adapters, schedule, graders, formats.
func Smoke(kind string, config json.RawMessage) (reduced json.RawMessage, rows int64, err error) {
	v, err := Decode(kind, config)
	if err != nil {
		return nil, 0, err
	}
	switch c := v.(type) {
	case *ModelLoad: // whole, and the same as the real run's, which takes it over: weights take long to get
	case *TemplateSet, *ModelMerge, *Export: // whole: no row goes in, and what they write is what may fail
	case *DataLoad:
		rows = smokeRows // a file may be long
	case *CurateFilter:
		rows = smokeRows // of what a program made, say; where no row passes the stage keeps one, so that what follows is tried
	case *CurateSplit:
		rows, c.Parts = smokeRows, even(c.Parts) // a share of 0.001 of so few rows is none
	case *CurateMix:
		rows, c.Rows = smokeRows, least(c.Rows, smokeRows) // a number of rows goes round what is there
	case *Generate:
		rows = c.smoke()
	case *CurateDistill:
		rows = c.smoke()
	case *CurateReject:
		rows, c.Minimum = c.smoke(), nil // answers that are cut score low: a bound would leave no row
	case *TrainSFT:
		rows = c.smoke(c.Eval)
	case *ModelPretrain:
		rows = c.smoke(c.Eval)
	case *TrainDPO:
		rows = c.smoke(c.Eval)
	case *TrainDPOReference:
		if rows = smokeTrained; c.Batch != nil {
			c.Batch.Rows = min(c.Batch.Rows, smokeBatch) // the rows and groups of its training, which reads the scores by number
		}
	case *TrainGRPO:
		rows = c.smoke(c.Eval)
		c.Generations, c.MaxNewTokens = min(c.Generations, smokeAnswers), min(c.MaxNewTokens, smokeTokens) // answers take the time
		c.Iterations = min(c.Iterations, smokeSteps)
	case *Eval:
		rows, c.Batch, c.Gate = smokeAsked, min(c.Batch, smokeAsked), nil // what two steps score says nothing
		for name, s := range c.Suites {
			s.MaxNewTokens = min(s.MaxNewTokens, smokeTokens)
			c.Suites[name] = s
		}
	case *Exec: // whole: nobody else knows what of it could be left out, so its program is told
		env := map[string]string{SmokeVariable: "1"}
		maps.Copy(env, c.Env)
		c.Env = env
	default:
		return nil, 0, fmt.Errorf("%s: schemas.Smoke does not say what a smoke makes of it", kind)
	}
	reduced, err = json.Marshal(v)
	return reduced, rows, err
}

// smoke takes two steps, and measures and saves at each: what comes after hours otherwise.
func (t *Training) smoke(e *Evaluation) (rows int64) {
	steps := int64(smokeSteps)
	t.MaxSteps = least(t.MaxSteps, steps)
	if t.MaxSteps == nil {
		t.MaxSteps = &steps
	}
	t.Batch.Rows, t.Batch.Accumulate = min(t.Batch.Rows, smokeBatch), min(t.Batch.Accumulate, smokeBatch)
	t.LogEvery, t.SaveEvery = 1, 1
	if e != nil {
		e.Every, e.Batch = 1, min(e.Batch, smokeAsked)
	}
	return smokeTrained
}

func (a *Answering) smoke() (rows int64) {
	a.MaxNewTokens, a.N, a.Batch = min(a.MaxNewTokens, smokeTokens), min(a.N, smokeAnswers), min(a.Batch, smokeAsked)
	return smokeAsked
}

// even gives every part the same share.
func even(parts map[string]float64) map[string]float64 {
	shares := map[string]float64{}
	for name := range parts {
		shares[name] = 1 / float64(len(parts))
	}
	return shares
}

// least bounds a number, where there is one.
func least(n *int64, most int64) *int64 {
	if n == nil {
		return nil
	}
	most = min(*n, most)
	return &most
}
