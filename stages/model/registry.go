// Package model is the stage kinds that need tensors or token ids. It is linked into hone-worker alone.
//
//	load, template, export   folders of models: what is copied, converted and set
//	sft, pretrain            training: rows made ready (encode.go), then steps (fit.go) of a method (method.go)
//	dpo, reference           preference training: pairs made ready (preferences.go), and what a reference says of them
//	grpo                     training on the model's own answers: drawn and rewarded (rollout.go), then made likelier (policy.go)
//	merge                    an adapter added to its base
//	generate, eval           decoding (prompt.go), and grading what came out
//	prove                    what vet --data finds of the rows of a training: what they become (prove.go), told proof by proof
//	distill, reject          rows to train on of what a model answered (learn.go)
package model

import (
	"context"
	"errors"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/tensor"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// Stages returns all kinds that hone-worker does.
func Stages() stages.Registry {
	all := data.Stages(openCounter)
	for kind, stage := range map[string]stages.Stage{
		"model.load":      Load,
		"model.pretrain":  Pretrain,
		"model.merge":     Merge,
		"template.set":    TemplateSet,
		"train.sft":       TrainSFT,
		"train.dpo":       TrainDPO,
		"train.grpo":      TrainGRPO,
		schemas.Reference: Reference,
		schemas.Proof:     Prove,
		"generate":        Generate,
		"curate.distill":  Distill,
		"curate.reject":   Reject,
		"eval":            Eval,
		"export":          Export,
	} {
		all[kind] = guarded(stage)
	}
	return all
}

// guarded gives a stage a scope for its tensors and turns what libtorch throws into its error. Where memory was short that says which
// field takes less.
func guarded(stage stages.Stage) stages.Stage {
	return func(ctx context.Context, j *stages.Job) error {
		err := tensor.Guard(func() error {
			defer tensor.Open().Close()
			return stage(ctx, j)
		})
		if short := (*tensor.OutOfMemory)(nil); errors.As(err, &short) {
			if path, advice := schemas.Spares(j.Kind, j.Config); advice != "" {
				return stages.Errorf(path, "%w; %s", err, advice)
			}
		}
		return err
	}
}

// Numerics prepares libtorch for the job, on its device, and tells what its bits depend on.
func Numerics(j *job.Job) (job.Numerics, error) {
	device := j.Device
	if !schemas.Computes(j.Kind) {
		device = "cpu"
	}
	name, err := tensor.Use(device, true)
	if err != nil {
		return job.Numerics{}, err
	}
	tensor.SetThreads(j.Threads)
	version, capability, _ := tensor.Version()
	return job.Numerics{Device: name, ISA: capability, Libtorch: version, Kernels: tensor.Kernels(), Threads: j.Threads}, nil
}
