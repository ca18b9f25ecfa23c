package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// Fit says which stages will not have the memory that they take. It is an error where the pipeline says what a stage is to run on, and where
// weights, gradients and the optimiser's state alone, as they are held, are more than that has; whatever is an estimate is advice. Models that are
// not made yet are as the stages before them say; of one that nobody can know the shape of, nothing is said.
func (r *Runner) Fit() (errs, advice pipelines.Errors) {
	f := r.beforehand()
	for _, s := range r.stages {
		switch said, refused := f.fit(s); {
		case refused:
			errs = append(errs, said)
		case said.Msg != "":
			advice = append(advice, said)
		}
	}
	return errs, advice
}

// Refuse is the errors of Fit, of stages that would run: what is made already needs no memory.
func (r *Runner) Refuse() error {
	declare := slices.DeleteFunc(slices.Clone(r.stages), func(s *pipelines.Stage) bool {
		return s.Resources.Machine == nil && s.Resources.Memory == 0
	})
	if len(declare) == 0 {
		return nil
	}
	f := r.beforehand()
	refused := map[string]pipelines.Error{}
	for _, s := range declare {
		if said, ok := f.fit(s); ok {
			refused[s.Name] = said
		}
	}
	if len(refused) == 0 {
		return nil
	}
	plan, err := r.Plan()
	if err != nil {
		return err
	}
	var errs pipelines.Errors
	for _, s := range plan.Stages {
		if said, ok := refused[s.Name]; ok && s.Action != Reuse {
			errs = append(errs, said)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// beforehand is a forecast without a plan: what the last run made is a good guess where the stage, and those before it, say what they said
// then.
func (r *Runner) beforehand() *forecast {
	f := &forecast{Runner: r, outputs: map[string]Outputs{}}
	for _, s := range r.stages {
		rec := r.lastRun(s.Name)
		config, err := ingredients(s, nil, nil)
		before := slices.ContainsFunc(s.Inputs, func(in pipelines.Input) bool { return f.outputs[in.Edge.From] == nil })
		if err == nil && !before && rec != nil && rec.Kind == s.Kind && sameConfig(rec.Ingredients, config) {
			f.outputs[s.Name] = rec.Outputs
		}
	}
	return f
}

// fit is what to say of a stage that will not have the memory it takes, and whether that is an error; without a message where it will.
func (f *forecast) fit(s *pipelines.Stage) (said pipelines.Error, refused bool) {
	if !schemas.Computes(s.Kind) || s.Internal {
		return said, false
	}
	m := f.machineOf(s)
	w := f.stageWork(s, m)
	w.longest = true // before any data is read
	e, err := w.estimate()
	if err != nil {
		return said, false
	}
	limit, declared, _ := memoryOf(s, m)
	if limit == 0 || e.Memory <= limit {
		return said, false
	}
	if e.Least <= limit {
		w.longest = false
		if e, err = w.estimate(); err != nil {
			return said, false
		}
	}
	return f.short(s, m, e), declared != "" && e.Least > limit
}

// memoryOf is the memory that a stage will have, the field that says so, and whose it is; 0 is not known. What the scheduler reserves of main
// memory says nothing of a device.
func memoryOf(s *pipelines.Stage, m cost.Machine) (limit int64, field, of string) {
	switch r := s.Resources; {
	case r.Machine != nil && r.Machine.Name != "":
		return m.Memory, "resources.machine", r.Machine.Name + " has "
	case r.Machine != nil:
		return m.Memory, "resources.machine", "resources.machine has "
	case r.Memory > 0 && m.Device == "cpu":
		return r.Memory, "resources.memory", "resources.memory is "
	}
	return m.Memory, "", "this machine has "
}

// short is what to say of a stage that takes more than it will have; without a message where it does not. Where the weights alone are too many,
// no batch is small enough.
func (f *forecast) short(s *pipelines.Stage, m cost.Machine, e cost.Estimate) pipelines.Error {
	limit, declared, of := memoryOf(s, m)
	if !schemas.Computes(s.Kind) || limit == 0 || e.Memory <= limit {
		return pipelines.Error{}
	}
	if e.Least > limit {
		return pipelines.Error{Pos: s.At(declared), Path: strings.TrimSuffix("stages."+s.Name+"."+declared, "."), Msg: f.impossible(s, m, e.Least, limit, of)}
	}
	field, less := schemas.Spares(s.Kind, s.Config)
	said := pipelines.Error{Pos: s.At(field), Path: strings.TrimSuffix("stages."+s.Name+"."+field, "."), Msg: fmt.Sprintf("takes about %s of memory, and %s%s", store.Size(e.Memory), of, store.Size(limit))}
	if less != "" {
		said.Msg += "; " + less
	}
	return said
}

// impossible is what to say of a stage whose weights alone are too many, with what would fit.
func (f *forecast) impossible(s *pipelines.Stage, m cost.Machine, least, limit int64, of string) string {
	w := f.stageWork(s, m)
	w.longest = true
	training, lora := trainingOf(w.config)
	held := "weights"
	if training != nil {
		held = "weights, gradients and the optimiser's state"
	}
	said := fmt.Sprintf("%s take %s at least, and %s%s", held, store.Size(least), of, store.Size(limit))
	if training == nil || s.Kind == "model.pretrain" {
		return said
	}
	var fits []string
	try := func(name string, with schemas.LoRA, dtype string) {
		w := f.stageWork(s, m)
		w.longest = true
		t, _ := trainingOf(w.config)
		if dtype != "" {
			t.Dtype = dtype
		}
		switch c := w.config.(type) {
		case *schemas.TrainSFT:
			c.LoRA = &with
		case *schemas.TrainDPO:
			c.LoRA = &with
		case *schemas.TrainGRPO:
			c.LoRA = &with
		}
		if e, err := w.estimate(); err == nil && e.Least <= limit {
			fits = append(fits, fmt.Sprintf("%s takes %s", name, store.Size(e.Least)))
		}
	}
	adapter := schemas.LoRA{Rank: 16}
	if lora != nil {
		adapter = *lora
	} else {
		try("lora", adapter, "")
	}
	if dtype(training.Dtype, m) == "float32" {
		try(`lora in dtype: "bfloat16"`, adapter, "bfloat16")
	}
	if adapter.Quantize == "" {
		adapter.Quantize = "nf4"
		try(`lora with quantize: "nf4"`, adapter, "")
	}
	if len(fits) == 0 {
		return said + "; a smaller model, or a machine with more memory, would do"
	}
	return said + "; " + strings.Join(fits, ", ")
}
