package train

import (
	"slices"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
)

// Answer is a prompt with one completion, whose tokens are the trained ones, and the log-likelihood that the reference gives
// the completion (0 where there is no reference).
type Answer struct {
	Example
	Reference float64
}

// Pair is two answers to one prompt.
type Pair struct{ Chosen, Rejected Answer }

// Judged is an answer with a label. Other is the same prompt with another row's completion, for KTO's estimate of the divergence.
type Judged struct {
	Answer
	Desirable bool
	Other     Answer
}

// Preference adds the gradients of weight times the loss of a batch of pairs, and returns that with the batch's metrics under
// TRL's names. All sequences are one forward pass.
func (t *Trainer) Preference(pairs []Pair, p loss.Preference, weight float64) (total float64, metrics map[string]float64, err error) {
	batch := sequences(pairs, p)
	total, err = t.Backward(batch, 1, func(l Likelihoods, grad []float32) (value float64, _ error) {
		value, metrics = compare(pairs, batch, p, l, weight, grad)
		return weight * value, nil
	})
	return total, metrics, err
}

// MeasurePreference is the metrics of a batch of pairs that is not trained on, its loss among them.
func MeasurePreference(m *model.Model, pairs []Pair, p loss.Preference) (map[string]float64, error) {
	batch := sequences(pairs, p)
	l, err := Evaluate(m, batch, 1)
	if err != nil {
		return nil, err
	}
	value, metrics := compare(pairs, batch, p, l, 1, make([]float32, len(l.LogProbs)))
	metrics["loss"] = value
	return metrics, nil
}

// sequences is the answers of pairs as examples, chosen before rejected.
func sequences(pairs []Pair, p loss.Preference) []Example {
	batch := make([]Example, 0, 2*len(pairs))
	for _, x := range pairs {
		chosen := x.Chosen.Example
		if p.Kind == "orpo" { // it trains on the prompt too
			chosen.Trained = make([]bool, len(chosen.IDs))
			for i := range chosen.Trained {
				chosen.Trained[i] = true
			}
		}
		batch = append(batch, chosen, x.Rejected.Example)
	}
	return batch
}

// compare is the loss of pairs whose sequences have these likelihoods, and its metrics; grad becomes weight times its derivative by each.
func compare(pairs []Pair, batch []Example, p loss.Preference, l Likelihoods, weight float64, grad []float32) (value float64, metrics map[string]float64) {
	found := make([]loss.Pair, len(pairs))
	at := make([]span, len(batch))
	var s meter
	from := 0
	for i, x := range pairs {
		chosen, rejected := &at[2*i], &at[2*i+1]
		from = chosen.follow(from, batch[2*i], x.Chosen.Example)
		from = rejected.follow(from, batch[2*i+1], x.Rejected.Example)
		found[i] = loss.Pair{Chosen: chosen.answer(l, x.Chosen.Reference), Rejected: rejected.answer(l, x.Rejected.Reference)}
		s.add("chosen", l, *chosen)
		s.add("rejected", l, *rejected)
	}
	value, grads := p.Loss(found)
	for i, g := range grads {
		chosen, rejected := at[2*i], at[2*i+1]
		fill(grad[chosen.from:chosen.completion], weight*g.Prompt)
		fill(grad[chosen.completion:chosen.to], weight*g.Chosen)
		fill(grad[rejected.completion:rejected.to], weight*g.Rejected)
	}
	metrics = p.Metrics(found)
	s.report(metrics)
	metrics["mean_token_accuracy"] = s.likeliest["chosen"] / max(s.tokens["chosen"], 1)
	return value, metrics
}

// KTO is Preference for labelled answers. The divergence is estimated before, by a forward pass of its own.
func (t *Trainer) KTO(rows []Judged, k loss.KTO, weight float64) (total float64, metrics map[string]float64, err error) {
	batch, kl, err := estimate(t.Model, rows, k)
	if err != nil {
		return 0, nil, err
	}
	total, err = t.Backward(batch, 1, func(l Likelihoods, grad []float32) (value float64, _ error) {
		value, metrics = judge(rows, batch, k, kl, l, weight, grad)
		return weight * value, nil
	})
	return total, metrics, err
}

// MeasureKTO is MeasurePreference for labelled answers.
func MeasureKTO(m *model.Model, rows []Judged, k loss.KTO) (map[string]float64, error) {
	batch, kl, err := estimate(m, rows, k)
	if err != nil {
		return nil, err
	}
	l, err := Evaluate(m, batch, 1)
	if err != nil {
		return nil, err
	}
	value, metrics := judge(rows, batch, k, kl, l, 1, make([]float32, len(l.LogProbs)))
	metrics["loss"] = value
	return metrics, nil
}

// estimate is the rows as examples, and the divergence that is estimated from them.
func estimate(m *model.Model, rows []Judged, k loss.KTO) (batch []Example, kl float64, err error) {
	batch, others := make([]Example, len(rows)), make([]Example, len(rows))
	for i, r := range rows {
		batch[i], others[i] = r.Example, r.Other.Example
	}
	l, err := Evaluate(m, others, 1)
	if err != nil {
		return nil, 0, err
	}
	mismatched := make([]loss.Answer, len(rows))
	var at span
	for i, r := range rows {
		at.follow(at.to, others[i], others[i])
		mismatched[i] = at.answer(l, r.Other.Reference)
	}
	return batch, k.Reference(mismatched), nil
}

// judge is compare for labelled answers.
func judge(rows []Judged, batch []Example, k loss.KTO, kl float64, l Likelihoods, weight float64, grad []float32) (value float64, metrics map[string]float64) {
	found, at := make([]loss.Labelled, len(rows)), make([]span, len(rows))
	var s meter
	from := 0
	for i, r := range rows {
		from = at[i].follow(from, batch[i], batch[i])
		found[i] = loss.Labelled{Answer: at[i].answer(l, r.Reference), Desirable: r.Desirable}
		s.add(found[i].Side(), l, at[i])
	}
	value, grads := k.Loss(found, kl)
	for i, g := range grads {
		fill(grad[at[i].completion:at[i].to], weight*g)
	}
	metrics = k.Metrics(found, kl)
	s.report(metrics)
	return value, metrics
}

// passTokens is about how many tokens a forward pass without gradients takes.
const passTokens = 2048

// Score is the summed log-likelihood of each example's labels. Passes are made of examples in order, so that the bits depend
// on nothing but them; after each, done is shown X
func Score(m *model.Model, examples []Example, known []float64, done func(scores []float64) error) ([]float64, error) {
	scores := slices.Grow(slices.Clone(known), len(examples)-len(known))
	for len(scores) < len(examples) {
		from, tokens := len(scores), 0
		to := from
		for to < len(examples) && (to == from || tokens+len(examples[to].IDs) <= passTokens) {
			tokens += len(examples[to].IDs)
			to++
		}
		l, err := Evaluate(m, examples[from:to], 1)
		if err != nil {
			return nil, err
		}
		var at span
		for _, e := range examples[from:to] {
			at.follow(at.to, e, e)
			scores = append(scores, at.answer(l, 0).LogProb)
		}
		if err := done(scores); err != nil {
			return nil, err
		}
	}
	return scores, nil
}

// span is where an example's labels stand in a pass: from … completion are the prompt's, completion … to the completion's.
type span struct{ from, completion, to int }

// follow makes s the span of e that begins at from, given e with its completion's tokens alone trained, and returns its end.
func (s *span) follow(from int, e, completion Example) int {
	s.from, s.to = from, from+int(e.Labels())
	s.completion = s.to - int(completion.Labels())
	return s.to
}

func (s span) answer(l Likelihoods, reference float64) loss.Answer {
	return loss.Answer{
		LogProb: sum(l.LogProbs[s.completion:s.to]), Reference: reference, Tokens: s.to - s.completion,
		Prompt: sum(l.LogProbs[s.from:s.completion]), PromptTokens: s.completion - s.from,
	}
}

// meter adds up what a pass tells of the completions' tokens, by side.
type meter struct {
	entropy, all                  float64
	tokens, likeliest, meanLogits map[string]float64
}

func (m *meter) add(side string, l Likelihoods, at span) {
	if m.tokens == nil {
		m.tokens, m.likeliest, m.meanLogits = map[string]float64{}, map[string]float64{}, map[string]float64{}
	}
	for i := at.completion; i < at.to; i++ {
		stats := l.Stats[i*tensor.TokenStats:]
		m.entropy += float64(stats[tensor.Entropy])
		m.likeliest[side] += float64(stats[tensor.Likeliest])
		m.meanLogits[side] += float64(stats[tensor.MeanLogit])
	}
	m.all += float64(at.to - at.completion)
	m.tokens[side] += float64(at.to - at.completion)
}

// report adds the means over tokens to metrics.
func (m *meter) report(metrics map[string]float64) {
	metrics["entropy"] = m.entropy / max(m.all, 1)
	for side, n := range m.tokens {
		metrics["logits/"+side] = m.meanLogits[side] / max(n, 1)
	}
}

func fill(x []float32, v float64) {
	for i := range x {
		x[i] = float32(v)
	}
}
