package model

import (
	"context"
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
	d, err := dataset.Open(j.In("data").Path)
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	defer d.Close()
	if err := wants("train.grpo", d.Format, withPrompt...); err != nil {
		return stages.Errorf("data", "%w", err)
	}
	rewards, err := grade.NewSum(c.Rewards, &d.Header, grading(j, "rewards", "")) // before the model: a mistake costs nothing yet
	if err != nil {
		return stages.Errorf("rewards", "%w", err)
	}
	defer rewards.Close()
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
	prompts, err := s.prompts(ctx, j, "data", d, "", c.Date, c.MaxNewTokens)
	if err != nil {
		return stages.Errorf("data", "%w", err)
	}
	if prompts, err = short(j, prompts, c.MaxLength); err != nil {
		return err
	}
	reference, free, err := reference(j, &c, dtype, m, store)
	if err != nil {
		return err
	}
	defer free()

	p := &policy{
		config: &c, warn: j.Warn, prompts: prompts, ends: s.end, reference: reference,
		answers: sampler{s, &c, prompts}.answers, rewards: judge{s, j, rewards, prompts, c.Generations}.rewards,
		loss: loss.Policy{Kind: c.Loss, Sequence: c.Ratio == "sequence", Low: c.Epsilon, High: c.High(), Beta: c.Beta, MaxTokens: c.MaxNewTokens},
	}
	j.Log("%d prompts, %d answers to each", len(prompts), c.Generations)
	if err := fit(ctx, j, &c.Training, m, store, p.method()); err != nil {
		return err
	}
	if err := rewards.Close(); err != nil {
		return stages.Errorf("rewards", "%w", err)
	}
	return saveTrained(j, m, base, s.Template)
}

// short drops prompts of more than limit tokens: cut, they would ask something else.
func short(j *stages.Job, prompts []prompt, limit int) ([]prompt, error) {
	all := len(prompts)
	prompts = slices.DeleteFunc(prompts, func(p prompt) bool { return len(p.ids) > limit })
	dropped := all - len(prompts)
	j.Summary("dropped", float64(dropped))
	switch {
	case len(prompts) == 0:
		return nil, stages.Errorf("maxLength", "no prompt has at most %d tokens", limit)
	case dropped > 0:
		j.Warn("%d of %d prompts have more than maxLength %d tokens and are dropped", dropped, all, limit)
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
