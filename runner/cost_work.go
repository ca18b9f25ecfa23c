package runner

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// work is what a stage has to do, as far as its time depends on it. The same is asked of a stage to come and of a record, so that the one can
// be predicted from the other.
type work struct {
	kind    string
	config  any // of the kind's type
	machine cost.Machine
	model   func(field string) (cost.Model, error)
	text    func(field string) (cost.Text, error)
	longest bool // memory is for rows of maxLength, without a look at the data
	notes   []string
}

// said is what the arithmetic went by.
func (w *work) said() string {
	if len(w.notes) == 0 {
		return ""
	}
	return strings.Join(w.notes, ", ") + "; "
}

func (w *work) note(format string, args ...any) {
	if said := fmt.Sprintf(format, args...); !slices.Contains(w.notes, said) {
		w.notes = append(w.notes, said)
	}
}

// stageWork is the work of a stage to come.
func (f *forecast) stageWork(s *pipelines.Stage, m cost.Machine) *work {
	w := &work{kind: s.Kind, machine: m}
	w.config, _ = schemas.Decode(s.Kind, s.Config)
	edge := func(field string) (pipelines.Edge, bool) {
		for _, in := range s.Inputs {
			if in.Field == field {
				return in.Edge, true
			}
		}
		return pipelines.Edge{}, false
	}
	w.model = func(field string) (cost.Model, error) {
		if e, ok := edge(field); ok {
			return f.model(e)
		}
		return f.source(s)
	}
	w.text = func(field string) (cost.Text, error) {
		if e, ok := edge(field); ok {
			return f.text(e)
		}
		return f.rows(s)
	}
	return w
}

// recordWork is the work that a record was of; false where it was of another shape than the stage is, or where that is no longer known.
func (f *forecast) recordWork(rec *store.Record, s *pipelines.Stage, m cost.Machine) (*work, bool) {
	config, err := configOf(rec)
	if err != nil {
		return nil, false
	}
	then, now := &work{kind: rec.Kind, config: config, machine: m}, f.stageWork(s, m)
	if !alike(then.config, now.config) {
		return nil, false
	}
	cadence(then.config, now.config)
	then.model = func(field string) (cost.Model, error) {
		hash := rec.Input(field + ".base")
		adapted := hash != ""
		if !adapted {
			hash = rec.Input(field)
		}
		if hash == "" { // a source: it became what the stage made
			hash = rec.Outputs["model"].Hash
		}
		old, err := f.modelAt(hash)
		if err != nil {
			return old, err
		}
		model, err := now.model(field)
		if err == nil && (!model.Same(old) || adapted != (model.Adapter > 0)) {
			err = fmt.Errorf("of another shape")
		}
		model.StoredBytes = old.StoredBytes
		return model, err
	}
	then.text = func(field string) (cost.Text, error) {
		hash := rec.Input(field)
		if hash == "" {
			hash = rec.Outputs["data"].Hash
		}
		return f.textAt(hash)
	}
	return then, true
}

// alike says whether two configs of a kind do the same sort of work: an adapter or the whole model, in one dtype.
func alike(a, b any) bool {
	sort := func(v any) string {
		t, lora := trainingOf(v)
		if t == nil {
			return ""
		}
		return fmt.Sprint(lora != nil, lora != nil && lora.Quantize != "", t.Dtype, t.GradientCheckpointing)
	}
	return sort(a) == sort(b)
}

// cadence gives a record's config what keys leave out, as the stage has it now.
func cadence(then, now any) {
	a, _ := trainingOf(then)
	b, _ := trainingOf(now)
	if a == nil || b == nil {
		return
	}
	a.SaveEvery, a.SaveTotalLimit, a.LogEvery = b.SaveEvery, b.SaveTotalLimit, b.LogEvery
	if e, f := evaluationOf(then), evaluationOf(now); e != nil && f != nil && e.Every == 0 {
		e.Every, e.Batch = f.Every, f.Batch
	}
}

func evaluationOf(config any) *schemas.Evaluation {
	switch c := config.(type) {
	case *schemas.ModelPretrain:
		return c.Eval
	case *schemas.TrainSFT:
		return c.Eval
	case *schemas.TrainDPO:
		return c.Eval
	case *schemas.TrainGRPO:
		return c.Eval
	}
	return nil
}

func trainingOf(config any) (*schemas.Training, *schemas.LoRA) {
	switch c := config.(type) {
	case *schemas.TrainSFT:
		return &c.Training, c.LoRA
	case *schemas.TrainDPO:
		return &c.Training, c.LoRA
	case *schemas.TrainGRPO:
		return &c.Training, c.LoRA
	case *schemas.ModelPretrain:
		return &c.Training, nil
	}
	return nil, nil
}

// Bytes a second that the kinds without tensors go through: rows parsed, checked and written as Parquet; weights converted.
const rowRate, weightRate = 15e6, 300e6

// estimate predicts the work. An error says what is not known.
func (w *work) estimate() (cost.Estimate, error) {
	switch c := w.config.(type) {
	case *schemas.ModelLoad:
		return w.copied("source", weightRate)
	case *schemas.TemplateSet:
		return cost.Copying{Worker: true}.Estimate(w.machine), nil
	case *schemas.ModelMerge:
		return w.copied("model", weightRate)
	case *schemas.Export:
		return w.copied("model", 0)
	case *schemas.DataLoad:
		return w.rewritten(false, "source")
	case *schemas.CurateFilter:
		return w.rewritten(c.Model != nil, "data")
	case *schemas.CurateSplit:
		return w.rewritten(false, "data")
	case *schemas.CurateMix:
		var fields []string
		for i := range c.Data {
			fields = append(fields, fmt.Sprintf("data[%d].data", i))
		}
		return w.rewritten(false, fields...)
	case *schemas.ModelPretrain, *schemas.TrainSFT, *schemas.TrainDPO, *schemas.TrainGRPO:
		return w.training()
	case *schemas.TrainDPOReference:
		return w.reference(c)
	case *schemas.Generate:
		return w.answers("model", "data", &c.Answering)
	case *schemas.CurateDistill:
		return w.answers("teacher", "data", &c.Answering)
	case *schemas.CurateReject:
		w.graders(c.Graders)
		return w.answers("model", "data", &c.Answering)
	case *schemas.Eval:
		return w.eval(c)
	}
	return cost.Estimate{}, fmt.Errorf("a program, and no record of it")
}

// copied is a model that is read and written again.
func (w *work) copied(field string, rate float64) (cost.Estimate, error) {
	m, err := w.model(field)
	if err != nil {
		return cost.Estimate{}, err
	}
	w.shape(m)
	bytes := float64(m.Parameters() * m.StoredBytes)
	if m.Adapter > 0 && rate == 0 { // an adapter's folder
		bytes = float64(4 * m.Adapter)
	}
	return cost.Copying{Bytes: bytes, Worker: true, Rate: rate, Tokens: m.Vocabulary, Memory: m.Head() * 4}.Estimate(w.machine), nil
}

// rewritten is rows that are read and written again.
func (w *work) rewritten(worker bool, fields ...string) (e cost.Estimate, err error) {
	bytes := 0.0
	for _, field := range fields {
		t, err := w.text(field)
		if err != nil {
			return e, err
		}
		bytes += t.Rows * t.Bytes
	}
	return cost.Copying{Bytes: bytes, Worker: worker, Rate: rowRate, Rows: true}.Estimate(w.machine), nil
}

func (w *work) shape(m cost.Model) { w.note("%s parameters", Count(float64(m.Parameters()))) }

func (w *work) rows(t cost.Text, tokens float64) {
	w.note("%s rows of about %s tokens", Count(t.Rows), Count(tokens))
}

// Count is a number as people say it: 272, 1.4k, 135M, 1.2B.
func Count(n float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "B"}, {1e6, "M"}, {1e4, "k"}} {
		if n < unit.of {
			continue
		}
		if unit.of == 1e4 {
			unit.of = 1e3
		}
		if n /= unit.of; n < 10 {
			return fmt.Sprintf("%.1f%s", n, unit.name)
		}
		return fmt.Sprintf("%.0f%s", n, unit.name)
	}
	return fmt.Sprintf("%.0f", n)
}

// training is the work of the kinds that train.
func (w *work) training() (e cost.Estimate, err error) {
	c, lora := trainingOf(w.config)
	m, err := w.model("model")
	if err != nil {
		return e, err
	}
	if m.Vocabulary == 0 {
		return e, fmt.Errorf("the model's vocabulary is not known")
	}
	w.shape(m)
	t := cost.Training{
		Model: m, DType: dtype(c.Dtype, w.machine), Optimizer: c.Optimizer.Kind, Checkpoint: c.GradientCheckpointing, Kept: int64(c.SaveTotalLimit),
	}
	if lora != nil {
		t.Adapter, t.Quantized, t.Double = m.LoRA(int64(lora.Rank)), lora.Quantize != "", lora.DoubleQuantize
	}
	text := cost.Text{Rows: 1}
	if !w.longest {
		if text, err = w.text("data"); err != nil {
			return e, err
		}
	}
	all, answer := text.Tokens(m)
	w.rows(text, all)
	limit := float64(c.MaxLength)
	rows, repeat := text.Rows, 1.0
	t.Text = text.Rows * text.Bytes
	pass := cost.Pass{Rows: 1, Prompt: max(all-answer, 0), Answer: min(answer, all), Shared: text.SharedTokens(m), Apart: lora != nil && lora.Dropout > 0}
	labels := answer
	longer := text.LongestTokens(m) / all
	most := 0.0 // tokens of an answer, where a field says so
	var rollout cost.Estimate
	switch v := w.config.(type) {
	case *schemas.ModelPretrain: // texts one after another, cut
		rows, labels, longer = math.Ceil(text.Rows*all/limit), limit, 1
		pass = cost.Pass{Rows: 1, Answer: limit, Apart: true}
	case *schemas.TrainSFT:
		if v.Loss == "all" || answer == 0 {
			labels = all
		}
		if v.Packing {
			cut := min(all, limit)
			rows, labels, longer = math.Ceil(text.Rows*cut/limit), labels*limit/cut, 1
			pass = cost.Pass{Rows: 1, Answer: limit, Apart: true}
		}
	case *schemas.TrainDPO:
		t.Likelihood = true
		if text.Pairs {
			labels /= 2
			pass.Rows, pass.Answer = 2, pass.Answer/2
		}
	case *schemas.TrainGRPO:
		t.Likelihood = true
		w.graders(v.Rewards)
		labels, most = w.answer(m, text, v.MaxNewTokens), float64(v.MaxNewTokens)
		pass.Rows, pass.Prompt, pass.Answer = float64(v.Generations), min(pass.Prompt, limit), labels
		each := float64(c.Batch.Rows * c.Batch.Accumulate)
		rollout = cost.Answering{Model: m, DType: t.DType, Frozen: true, Drawn: true, Rows: each, Prompt: pass.Prompt, Answers: pass.Rows, New: labels,
			Batch: min(each*pass.Rows, rolledAtOnce), Longest: int64(pass.Prompt*longer) + int64(v.MaxNewTokens)}.Estimate(w.machine)
		repeat = float64(v.Iterations)
		if v.Beta > 0 {
			t.Forwards = 1
		}
		if v.Iterations > 1 { // what the answers were likely by the model that gave them
			t.Forwards++
		}
	}
	limit += most // maxLength is for prompts then
	batches := math.Ceil(rows / float64(c.Batch.Rows))
	perEpoch := math.Ceil(batches/float64(c.Batch.Accumulate)) * repeat
	if t.Steps = math.Ceil(c.Epochs * perEpoch); c.MaxSteps != nil {
		t.Steps = float64(*c.MaxSteps)
	}
	t.Accumulate = batches * repeat / perEpoch
	pass.Groups = rows / batches // the last batch is smaller
	t.Rows = pass.Groups * pass.Rows
	t.Tokens = max(cut(pass, limit).Tokens()/t.Rows, 1)
	t.Labels = min(labels, t.Tokens)
	pass.Groups = float64(c.Batch.Rows)
	pass.Prompt, pass.Answer = pass.Prompt*longer, max(pass.Answer*longer, most)
	if w.longest {
		pass.Prompt, pass.Answer, pass.Apart = 0, limit, true
	}
	pass = cut(pass, limit)
	t.Longest, t.Gathered = pass.Tokens()/t.Rows, pass.Gathered()
	t.Saves = math.Floor(t.Steps / float64(max(c.SaveEvery, 1)))
	if err := w.measuring(&t); err != nil {
		return e, err
	}
	e = t.Estimate(w.machine)
	e.Work += t.Steps / repeat * rollout.Work
	if rollout.Memory > 0 { // what answers took is not given back before the training's pass
		e.Memory += rollout.Memory - rollout.Least - w.machine.Resident
	}
	return e, nil
}

// rolledAtOnce is the answers that GRPO decodes together (stages/model/rollout.go).
const rolledAtOnce = 64

// cut is a pass of rows of at most so many tokens.
func cut(p cost.Pass, limit float64) cost.Pass {
	p.Prompt = min(p.Prompt, limit)
	p.Answer = min(p.Answer, limit-p.Prompt)
	return p
}

// measuring is the evaluations of a training on its way.
func (w *work) measuring(t *cost.Training) error {
	e := evaluationOf(w.config)
	if e == nil || w.longest {
		return nil
	}
	text, err := w.text("eval.data")
	if err != nil {
		return err
	}
	all, _ := text.Tokens(t.Model)
	times := math.Ceil(t.Steps / float64(max(e.Every, 1))) // after the last step too
	t.Evaluated = times * text.Rows * all
	t.Text += text.Rows * text.Bytes
	return nil
}

// reference is the log-likelihoods of every answer.
func (w *work) reference(c *schemas.TrainDPOReference) (e cost.Estimate, err error) {
	field := "model"
	if c.Reference != nil {
		field = "reference"
	}
	m, err := w.model(field)
	if err != nil {
		return e, err
	}
	text, err := w.text("data")
	if err != nil {
		return e, err
	}
	all, answer := text.Tokens(m)
	w.shape(m)
	w.rows(text, all)
	return cost.Answering{Model: m, DType: dtype(c.Dtype, w.machine), Frozen: true, Rows: text.Rows, Prompt: min(all, 2*float64(c.MaxLength)),
		Batch: 1, Heads: answer, Text: text.Rows * text.Bytes}.Estimate(w.machine), nil
}

// answers is rows that a model answers.
func (w *work) answers(field, data string, c *schemas.Answering) (e cost.Estimate, err error) {
	m, err := w.model(field)
	if err != nil {
		return e, err
	}
	text, err := w.text(data)
	if err != nil {
		return e, err
	}
	a := w.answering(m, text, float64(c.N), c.MaxNewTokens, c.Batch)
	a.Drawn = c.Temperature != nil && *c.Temperature > 0
	return a.Estimate(w.machine), nil
}

func (w *work) answering(m cost.Model, text cost.Text, n float64, most, batch int) cost.Answering {
	all, answer := text.Tokens(m)
	prompt := max(all-answer, 1)
	w.shape(m)
	w.rows(text, prompt)
	return cost.Answering{
		Model: m, DType: dtype("auto", w.machine), Rows: text.Rows, Prompt: prompt, Answers: n, New: w.answer(m, text, most),
		Batch: float64(batch), Longest: int64(prompt) + int64(most), Text: text.Rows * text.Bytes,
	}
}

// answer is the tokens of an answer: as long as those that the model was trained on, where it was, else as long as it may be.
func (w *work) answer(m cost.Model, text cost.Text, most int) float64 {
	if _, own := text.Tokens(m); most == 0 || m.Tuned && own > 0 {
		return min(own, float64(most))
	}
	w.note("answers of %d tokens", most)
	return float64(most)
}

// eval is each suite's rows answered, or read.
func (w *work) eval(c *schemas.Eval) (e cost.Estimate, err error) {
	m, err := w.model("model")
	if err != nil {
		return e, err
	}
	type question struct {
		data   schemas.Edge
		system string
		most   int
	}
	asked := map[question]bool{}
	for i, name := range slices.Sorted(maps.Keys(c.Suites)) {
		suite := c.Suites[name]
		text, err := w.text("suites." + name + ".data")
		if err != nil {
			return e, err
		}
		a := w.answering(m, text, 1, suite.MaxNewTokens, c.Batch)
		if suite.Perplexity != nil {
			all, answer := text.Tokens(m)
			a.Prompt, a.Answers, a.Batch, a.Heads = all, 0, 1, answer
			if answer == 0 {
				a.Heads = all
			}
		} else {
			w.graders(map[string]schemas.WeightedGrader{name: {Grader: suite.Grader}})
			q := question{suite.Data, suite.System, suite.MaxNewTokens}
			if asked[q] { // suites that ask the same share the answers
				continue
			}
			asked[q] = true
		}
		if one := a.Estimate(w.machine); i == 0 {
			e = one
		} else {
			e = e.Plus(one)
		}
	}
	return e, nil
}

// graders notes programs of the user's, whose time nobody can foresee.
func (w *work) graders(all map[string]schemas.WeightedGrader) {
	for _, g := range all {
		if g.Exec != nil {
			w.note("without its graders' programs")
		}
	}
}

// dtype is what a computation is in: auto is bfloat16 on a device.
func dtype(name string, m cost.Machine) string {
	switch {
	case name != "auto" && name != "":
		return name
	case m.Device == "cpu":
		return "float32"
	}
	return "bfloat16"
}
