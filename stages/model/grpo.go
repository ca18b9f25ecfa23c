package model

import (
	"context"
	"errors"
	"slices"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/nn"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// TrainGRPO is train.grpo: the model answers prompts, graders reward the answers, and those become likelier that beat the mean
// of their group (Shao et al. 2024, arXiv:2402.03300), as TRL 1.16's GRPOTrainer computes it (internal/loss, bench/golden/grpo.py).
//
// Left out: answers by older weights while newer ones train, tools and turns of an environment, and TRL's losses sapo, luspo
// and vespo.
func TrainGRPO(ctx context.Context, j *stages.Job) error {
	var c schemas.TrainGRPO
	if err := j.Decode(&c); err != nil {
		return err
	}
	base := j.In("model")
	dtype, err := computeDtype(c.Dtype)
	if err != nil {
		return stages.Errorf("dtype", "%w", err)
	}
	asked, err := openQuestions(j, &c, "data", "") // before the model: a mistake costs nothing yet
	if err != nil {
		return err
	}
	defer asked.Close()
	var held *questions
	if c.Eval != nil {
		if held, err = openQuestions(j, &c, "eval.data", "eval"); err != nil {
			return err
		}
		defer held.Close()
	}
	m, store, err := openTrained(j, base, dtype, c.LoRA, &c.Training)
	if err != nil {
		return err
	}
	defer m.Free()
	s, err := newSpeaker(base)
	if err != nil {
		return err
	}
	defer s.Tokenizer.Close()
	s.Model = m // as it is being trained
	reference, free, err := reference(j, &c, dtype, m, store)
	if err != nil {
		return err
	}
	defer free()

	p, err := asked.policy(ctx, j, s, &c)
	if err != nil {
		return err
	}
	p.reference = reference
	j.Log("%d prompts, %d answers to each", len(p.prompts), c.Generations)
	f := p.method()
	if held != nil {
		other, err := held.policy(ctx, j, s, &c)
		if err != nil {
			return err
		}
		j.Log("evaluated on %d prompts each %d steps", len(other.prompts), c.Eval.Every)
		f.eval = other.evaluation()
	}
	if err := fit(ctx, j, &c.Training, m, store, f); err != nil {
		return err
	}
	if err := errors.Join(asked.end(), held.end()); err != nil {
		return stages.Errorf("rewards", "%w", err)
	}
	return saveTrained(j, m, base, s.Template)
}

// questions is a dataset of prompts with what rewards answers to them.
type questions struct {
	*dataset.Dataset
	field   string // among the inputs
	rewards *grade.Sum
}

// openQuestions opens the dataset of an input. log names a folder of the job's log for what reward programs say.
func openQuestions(j *stages.Job, c *schemas.TrainGRPO, field, log string) (*questions, error) {
	d, err := j.Dataset(field)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	if err := data.Wants("train.grpo", d.Format, data.WithPrompt...); err != nil {
		d.Close()
		return nil, stages.Errorf(field, "%w", err)
	}
	rewards, err := openGraders(j, "rewards", log, c.Rewards, d)
	if err != nil {
		d.Close()
		return nil, err
	}
	return &questions{d, field, rewards}, nil
}

// Close also ends what rewards.
func (q *questions) Close() {
	q.rewards.Close()
	q.Dataset.Close()
}

// end tells what reward programs still have to say.
func (q *questions) end() error {
	if q == nil {
		return nil
	}
	return q.rewards.Close()
}

// policy is the method over the prompts, without a reference.
func (q *questions) policy(ctx context.Context, j *stages.Job, s *Speaker, c *schemas.TrainGRPO) (*policy, error) {
	prompts, err := s.prompts(ctx, j, q.field, q.Dataset, "", c.Date, c.MaxNewTokens)
	if err != nil {
		return nil, stages.Errorf(q.field, "%w", err)
	}
	var bad dataset.BadRows
	for _, p := range prompts {
		if err := data.Empty("prompt", p.shown); err != nil {
			bad.Add(&dataset.RowError{Where: j.Row(q.field, p.row), Err: err})
		}
	}
	if err := bad.Err(); err != nil {
		return nil, stages.Errorf(q.field, "%w", err)
	}
	if prompts, err = short(j, q.field, prompts, c.MaxLength); err != nil {
		return nil, err
	}
	return &policy{
		config: c, warn: j.Warn, prompts: prompts, ends: s.end,
		answers: sampler{s, c, prompts}.answers, rewards: judge{s, j, q.rewards, q.field, prompts, c.Generations}.rewards,
		loss: loss.Policy{Kind: c.Loss, Sequence: c.Ratio == "sequence", Low: c.Epsilon, High: c.High(), Beta: c.Beta, MaxTokens: c.MaxNewTokens},
	}, nil
}

// short drops prompts of more than limit tokens: cut, they would ask something else.
func short(j *stages.Job, field string, prompts []prompt, limit int) ([]prompt, error) {
	all := len(prompts)
	prompts = slices.DeleteFunc(prompts, func(p prompt) bool { return len(p.ids) > limit })
	dropped := all - len(prompts)
	if field == "data" {
		j.Summary("dropped", float64(dropped))
	}
	switch {
	case len(prompts) == 0:
		return nil, stages.Errorf("maxLength", "%s: no prompt has at most %d tokens", field, limit)
	case dropped > 0:
		j.Warn("%s: %d of %d prompts have more than maxLength %d tokens and are dropped", field, dropped, all, limit)
	}
	return prompts, nil
}

// reference is the log-likelihoods of a batch under the model that the policy is held near, nil where nothing holds it: the one
// that is named, else the model as it starts. An adapter starts from its first values, over the base that is there.
func reference(j *stages.Job, c *schemas.TrainGRPO, dtype tensor.Dtype, m *model.Model, store *nn.Store) (func([]train.Example) ([]float32, error), func(), error) {
	if c.Beta == 0 {
		return nil, func() {}, nil
	}
	scale := 1 / c.Temperature
	if c.Reference == nil && c.LoRA != nil {
		start := slices.Clone(store.Values.Floats())
		return func(batch []train.Example) ([]float32, error) {
			store.Exchange(start)
			defer store.Exchange(start)
			l, err := train.Evaluate(m, batch, scale)
			return l.LogProbs, err
		}, func() {}, nil
	}
	in, field := j.In("model"), "model"
	if c.Reference != nil {
		in, field = j.In("reference"), "reference"
	}
	other, err := loadModel(in, dtype)
	if err != nil {
		return nil, nil, stages.Errorf(field, "%w", err)
	}
	if got, want := other.Config.VocabSize, m.Config.VocabSize; got != want {
		other.Free()
		return nil, nil, stages.Errorf(field, "a vocabulary of %d tokens, and the model's is of %d", got, want)
	}
	return func(batch []train.Example) ([]float32, error) {
		l, err := train.Evaluate(other, batch, scale)
		return l.LogProbs, err
	}, other.Free, nil
}
