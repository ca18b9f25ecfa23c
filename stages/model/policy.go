package model

import (
	"context"
	"slices"

	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
)

// policy is the method of train.grpo. An item is a prompt. A round is the prompts of one step: they are answered, the answers
// rewarded, and iterations updates made from them.
type policy struct {
	config    *schemas.TrainGRPO
	loss      loss.Policy
	prompts   []prompt
	ends      map[int32]bool
	answers   func(ctx context.Context, m *model.Model, round int64, items []int) ([][]int32, error)
	rewards   func(ctx context.Context, items []int, answers [][]int32) (sums []float64, byName map[string][]float64, err error)
	reference func(batch []train.Example) ([]float32, error) // nil without a divergence
	warn      func(format string, args ...any)

	round *round // the one at hand; between rounds nil
	alike struct {
		rounds int     // since the last look
		share  float64 // the sum of their prompts' shares of which no answer was better than another
		told   bool
	}
}

// round is what a checkpoint holds of answers that are still to be trained on.
type round struct {
	Number  int64              `json:"number"`
	Micro   [][]rollout        `json:"micro"` // by micro-batch
	Metrics map[string]float64 `json:"metrics"`
}

// rollout is an answer that was rewarded. Old and Reference have a number for each token of it.
type rollout struct {
	Prompt    int       `json:"prompt"`
	Answer    []int32   `json:"answer"`
	Advantage float64   `json:"advantage"`
	Masked    bool      `json:"masked,omitempty"` // cut off, and not to be trained on
	Old       []float32 `json:"old,omitempty"`    // log-probabilities under the weights that answered, where they change within the round
	Reference []float32 `json:"reference,omitempty"`
}

func (p *policy) method() method {
	return method{
		items: len(p.prompts), repeat: p.config.Iterations, step: p.step, carried: &p.round,
		rows: func(item int) []int64 { return []int64{p.prompts[item].row} },
	}
}

func (p *policy) step(ctx context.Context, t *train.Trainer, micro [][]int, rate float64) (o outcome, err error) {
	iterations := int64(p.config.Iterations)
	number := t.Optimizer.Step / iterations
	if p.round == nil || p.round.Number != number {
		if p.round, err = p.roll(ctx, t.Model, number, micro); err != nil {
			return o, err
		}
	}
	var tokens int64 // that train in the whole step
	batches := make([][]train.Example, len(micro))
	for i, rollouts := range p.round.Micro {
		batches[i] = p.examples(rollouts)
		for _, e := range batches[i] {
			tokens += e.Labels()
			o.tokens += int64(len(e.IDs))
		}
	}
	o.metrics = map[string]float64{}
	counts := map[string]float64{} // of passes that have a metric
	o.Result, err = t.Step(ctx, len(micro), func(i int) (float64, error) {
		return t.Backward(batches[i], 1/p.config.Temperature, func(l train.Likelihoods, grad []float32) (float64, error) {
			value, metrics := p.loss.Loss(completions(p.round.Micro[i], l), len(micro), tokens, grad)
			for name, v := range metrics {
				o.metrics[name] += v
				counts[name]++
			}
			return value, nil
		})
	}, rate)
	for name, n := range counts {
		o.metrics[name] /= n
	}
	for name, v := range p.round.Metrics {
		o.metrics[name] = v
	}
	if err == nil && (number+1)*iterations == t.Optimizer.Step {
		p.round = nil
	}
	return o, err
}

// tried is answers that were rewarded, with what TRL logs of them.
type tried struct {
	answers    [][]int32
	advantages []float64
	metrics    map[string]float64
}

// try answers prompts in a round and rewards the answers.
func (p *policy) try(ctx context.Context, m *model.Model, number int64, items []int) (*tried, error) {
	answers, err := p.answers(ctx, m, number, items)
	if err != nil {
		return nil, err
	}
	sums, byName, err := p.rewards(ctx, items, answers)
	if err != nil {
		return nil, err
	}
	advantages, zero := loss.Advantages(sums, p.config.Generations, p.config.ScaleRewards)
	metrics := map[string]float64{"frac_reward_zero_std": zero}
	measureRewards(metrics, sums, byName)
	measureLengths(metrics, answers, p.cut)
	return &tried{answers, advantages, metrics}, nil
}

// noRound is the number of the round of an evaluation: its draws are the same each time, and those of no step.
const noRound = -1

// evaluation is by the rewards of answers to the prompts.
func (p *policy) evaluation() *evaluation {
	c := p.config.Eval
	return &evaluation{c, "reward", func(ctx context.Context, m *model.Model) (map[string]float64, error) {
		return train.Averaged(ctx, len(p.prompts), c.Batch, func(from, to int) (map[string]float64, error) {
			items := make([]int, to-from)
			for i := range items {
				items[i] = from + i
			}
			x, err := p.try(ctx, m, noRound, items)
			if err != nil {
				return nil, err
			}
			return x.metrics, nil
		})
	}}
}

// roll answers the prompts of a step and rewards the answers.
func (p *policy) roll(ctx context.Context, m *model.Model, number int64, micro [][]int) (*round, error) {
	c := p.config
	x, err := p.try(ctx, m, number, slices.Concat(micro...))
	if err != nil {
		return nil, err
	}
	p.watch(x.metrics)
	r := &round{Number: number, Metrics: x.metrics}
	k := 0
	for _, own := range micro {
		var rollouts []rollout
		for _, item := range own {
			for range c.Generations {
				rollouts = append(rollouts, rollout{Prompt: item, Answer: x.answers[k], Advantage: x.advantages[k], Masked: c.MaskTruncated && p.cut(x.answers[k])})
				k++
			}
		}
		r.Micro = append(r.Micro, rollouts)
	}
	return r, p.compare(m, r)
}

// patience is the logged steps after which the user is told that at least so great a share of the prompts teaches nothing.
const patience, muchAlike = 5, 0.9

// watch warns, once, where little has been learnt for a while since most groups' answers were rewarded alike.
func (p *policy) watch(metrics map[string]float64) {
	c, a := p.config, &p.alike
	a.rounds++
	a.share += metrics["frac_reward_zero_std"]
	if a.rounds < max(1, patience*c.LogEvery/c.Iterations) {
		return
	}
	if share := a.share / float64(a.rounds); share >= muchAlike && !a.told {
		a.told = true
		p.warn("for %d steps all answers to %.3g%% of the prompts have had the same reward, %.4g of late, and nothing is learnt of those: "+
			"see whether the rewards find what they look for in what the model writes, and whether its answers differ (temperature is %g, generations %d)",
			a.rounds*c.Iterations, 100*share, metrics["reward"], c.Temperature, c.Generations)
	}
	a.rounds, a.share = 0, 0
}

// cut reports whether an answer came to no end of its own.
func (p *policy) cut(answer []int32) bool { return len(answer) == 0 || !p.ends[answer[len(answer)-1]] }

// compare puts the log-probabilities beside the answers that a loss compares with, batched as it will be.
func (p *policy) compare(m *model.Model, r *round) error {
	scale := 1 / p.config.Temperature
	for _, rollouts := range r.Micro {
		batch := p.examples(rollouts)
		if p.config.Iterations > 1 {
			l, err := train.Evaluate(m, batch, scale)
			if err != nil {
				return err
			}
			deal(rollouts, l.LogProbs, func(o *rollout, logp []float32) { o.Old = logp })
		}
		if p.reference != nil {
			logp, err := p.reference(batch)
			if err != nil {
				return err
			}
			deal(rollouts, logp, func(o *rollout, logp []float32) { o.Reference = logp })
		}
	}
	return nil
}

// examples is the answers behind their prompts, trained on the answer alone. Masked ones are left out.
func (p *policy) examples(rollouts []rollout) []train.Example {
	var batch []train.Example
	for _, o := range rollouts {
		if o.Masked {
			continue
		}
		prompt := p.prompts[o.Prompt]
		e := train.Example{IDs: slices.Concat(prompt.ids, o.Answer), Row: prompt.row}
		e.Trained = make([]bool, len(e.IDs))
		for i := len(prompt.ids); i < len(e.IDs); i++ {
			e.Trained[i] = true
		}
		batch = append(batch, e)
	}
	return batch
}

// deal hands each rollout that trains its share of numbers, one a token.
func deal(rollouts []rollout, numbers []float32, give func(o *rollout, own []float32)) {
	for i := range rollouts {
		if o := &rollouts[i]; !o.Masked {
			n := len(o.Answer)
			give(o, numbers[:n:n])
			numbers = numbers[n:]
		}
	}
}

// completions is the rollouts as a loss sees them, with what the policy now says of their tokens.
func completions(rollouts []rollout, l train.Likelihoods) []loss.Completion {
	entropy := make([]float32, len(l.LogProbs))
	for i := range entropy {
		entropy[i] = l.Stats[i*tensor.TokenStats+tensor.Entropy]
	}
	var all []loss.Completion
	at := 0
	for _, o := range rollouts {
		c := loss.Completion{Advantage: o.Advantage, Masked: o.Masked, Old: o.Old, Reference: o.Reference}
		if !o.Masked {
			n := at + len(o.Answer)
			c.LogProbs, c.Entropy = l.LogProbs[at:n], entropy[at:n]
			at = n
		}
		all = append(all, c)
	}
	return all
}

// measureRewards adds what TRL logs of rewards.
func measureRewards(m map[string]float64, sums []float64, byName map[string][]float64) {
	m["reward"], m["reward_std"] = loss.Deviation(sums)
	for name, x := range byName {
		m["rewards/"+name+"/mean"], m["rewards/"+name+"/std"] = loss.Deviation(x)
	}
}

// measureLengths adds what TRL logs of completions; of those that ended, zero where none did.
func measureLengths(m map[string]float64, answers [][]int32, cut func([]int32) bool) {
	var all, ended []float64
	for _, a := range answers {
		all = append(all, float64(len(a)))
		if !cut(a) {
			ended = append(ended, float64(len(a)))
		}
	}
	m["completions/clipped_ratio"] = 1 - float64(len(ended))/float64(len(all))
	if ended == nil {
		ended = []float64{0}
	}
	for infix, lengths := range map[string][]float64{"": all, "terminated_": ended} {
		m["completions/mean_"+infix+"length"], _ = loss.Deviation(lengths)
		m["completions/min_"+infix+"length"], m["completions/max_"+infix+"length"] = slices.Min(lengths), slices.Max(lengths)
	}
}
