package schemas

import (
	"encoding/json"
	"fmt"
)

// Longer tells whether a training that has ended can be made longer: what its steps computed depends neither on how many there were to
// be nor on what became of a last evaluation. Where it cannot, why says so of a field. Other kinds train nothing: their field is empty.
func Longer(kind string, config json.RawMessage) (can bool, field, why string) {
	v, err := Decode(kind, config)
	if err != nil {
		return false, "", ""
	}
	var t *Training
	var e *Evaluation
	switch c := v.(type) {
	case *TrainSFT:
		t, e = &c.Training, c.Eval
	case *ModelPretrain:
		t, e = &c.Training, c.Eval
	case *TrainDPO:
		t, e = &c.Training, c.Eval
	case *TrainGRPO:
		t, e = &c.Training, c.Eval
	default:
		return false, "", ""
	}
	return t.longer(e)
}

// CanGrow is Longer of a training whose configuration is decoded already.
func (t *Training) CanGrow(e *Evaluation) bool {
	can, _, _ := t.longer(e)
	return can
}

func (t *Training) longer(e *Evaluation) (can bool, field, why string) {
	switch s := t.Schedule; {
	case s.Kind != "constant":
		return false, "schedule.kind", fmt.Sprintf("%s: the learning rate of a step depends on how many there are; constant goes on from the last", s.Kind)
	case s.Warmup > 0 && s.Warmup < 1:
		return false, "schedule.warmup", "a share of the steps: the learning rate depends on how many there are; a number of steps goes on from the last"
	case e != nil && (e.KeepBest || e.EarlyStopping != nil):
		return false, "eval", "the last step is evaluated too, and keepBest and earlyStopping follow from it"
	}
	return true, "", ""
}

// Steps is the number of steps that a training's config gives; 0 where it counts epochs.
func Steps(config json.RawMessage) int64 {
	var c length
	if json.Unmarshal(config, &c) != nil || c.MaxSteps == nil {
		return 0
	}
	return *c.MaxSteps
}

// Length is the field that gives a training's length, with its value: maxSteps 100.
func Length(config json.RawMessage) string {
	var c length
	if json.Unmarshal(config, &c) == nil && c.MaxSteps != nil {
		return fmt.Sprintf("maxSteps %d", *c.MaxSteps)
	}
	return fmt.Sprintf("epochs %g", c.Epochs)
}

// LengthShare is the length of a training as a share of that of another that differs from it in nothing but Lengths; 0 where one counts
// epochs and the other steps.
func LengthShare(config, of json.RawMessage) float64 {
	var a, b length
	if json.Unmarshal(config, &a) != nil || json.Unmarshal(of, &b) != nil {
		return 0
	}
	switch {
	case a.MaxSteps != nil && b.MaxSteps != nil && *b.MaxSteps > 0:
		return float64(*a.MaxSteps) / float64(*b.MaxSteps)
	case a.MaxSteps == nil && b.MaxSteps == nil && b.Epochs > 0:
		return a.Epochs / b.Epochs
	}
	return 0
}

// length is the fields of Lengths.
type length struct {
	Epochs   float64
	MaxSteps *int64
}

// Lengths are the fields that say how long a training is.
var Lengths = []string{"epochs", "maxSteps"}

// AtLeast tells whether a training by config is at least as long as one by another that differs in nothing but Lengths; false where
// one counts epochs and the other steps.
func AtLeast(config, other json.RawMessage) bool {
	var a, b length
	if json.Unmarshal(config, &a) != nil || json.Unmarshal(other, &b) != nil {
		return false
	}
	switch {
	case a.MaxSteps != nil && b.MaxSteps != nil:
		return *a.MaxSteps >= *b.MaxSteps
	case a.MaxSteps == nil && b.MaxSteps == nil:
		return a.Epochs >= b.Epochs
	}
	return false
}
