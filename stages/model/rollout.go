package model

import (
	"context"
	"slices"

	"github.com/hone-ml/hone/internal/grade"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/sample"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// atOnce is the answers that are decoded together; more wait for a place. It bounds the cache, and touches the last bits of numbers.
const atOnce = 64

// sampler has the model answer prompts as it stands.
type sampler struct {
	*Speaker
	config  *schemas.TrainGRPO
	prompts []prompt
}

// answers is generations answers of each prompt, one prompt's behind one another: tokens with the one that ends them. The draws
// depend on the seed, the round, the prompt and the number of the answer alone.
func (s sampler) answers(ctx context.Context, m *model.Model, round int64, items []int) ([][]int32, error) {
	c := s.config
	all := make([][]int32, 0, len(items)*c.Generations)
	var requests []*sample.Request
	for _, item := range items {
		for g := range c.Generations {
			at := len(all)
			all = append(all, nil)
			requests = append(requests, &sample.Request{
				Prompt: s.prompts[item].ids, MaxNewTokens: c.MaxNewTokens, End: s.end,
				Options: sample.Options{Temperature: c.Temperature, TopP: c.TopP, TopK: c.TopK, MinP: c.MinP,
					Seed: uint64(c.Seed) ^ uint64(round+1)*0x9e3779b97f4a7c15, Sequence: uint64(item*c.Generations + g)},
				Done: func(tokens []int32) error { all[at] = tokens; return nil },
			})
		}
	}
	return all, sample.Generate(ctx, m, requests, atOnce)
}

// judge rewards answers.
type judge struct {
	*Speaker
	job         *stages.Job
	graders     *grade.Sum
	field       string // of the prompts among the inputs
	prompts     []prompt
	generations int
}

// rewards is the reward of each answer by name, and their weighted sum.
func (j judge) rewards(ctx context.Context, items []int, answers [][]int32) (sums []float64, byName map[string][]float64, err error) {
	rows, texts := make([]prompt, len(items)), make([][]string, len(items))
	for i, item := range items {
		rows[i] = j.prompts[item]
		for _, answer := range answers[i*j.generations : (i+1)*j.generations] {
			texts[i] = append(texts[i], j.Text(answer))
		}
	}
	all, err := score(ctx, j.job, j.field, j.graders, rows, texts, func(int) {})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, stages.Errorf("rewards", "%w", err)
	}
	byName = map[string][]float64{}
	for _, x := range slices.Concat(all...) {
		sums = append(sums, x.sum)
		for k, name := range j.graders.Names() {
			byName[name] = append(byName[name], x.scores[k])
		}
	}
	return sums, byName, nil
}
