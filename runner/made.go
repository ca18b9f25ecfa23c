package runner

import (
	"errors"
	"maps"
	"slices"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
)

// Made is a stage with the record of the pipeline's last run; nil where that made none.
type Made struct {
	*pipelines.Stage
	Record *store.Record
}

// Made is what the pipeline's last run used of the selected stages. An artifact that is gone is not made.
func (r *Runner) Made() ([]Made, error) {
	var made []Made
	for _, s := range r.stages {
		m := Made{Stage: s}
		if key := r.before[s.Name]; key != "" {
			records, err := r.store.Records(key)
			if err != nil {
				return nil, err
			}
			records = slices.DeleteFunc(records, func(rec *store.Record) bool {
				return !r.promises(s, rec) || slices.ContainsFunc(slices.Collect(maps.Values(rec.Outputs)), func(out store.Output) bool {
					var damage *store.Damage
					return errors.As(r.store.Check(out.Hash), &damage) && len(damage.Files) == 0
				})
			})
			m.Record = prefer(records, r.numerics(s), false)
		}
		made = append(made, m)
	}
	return made, nil
}

// AllRecords is the records that the pipeline's runs made or reused, the oldest first.
func (r *Runner) AllRecords() ([]*store.Record, error) {
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, s := range plan.Stages {
		if s.Key != nil {
			keys[*s.Key] = true
		}
	}
	for _, key := range r.before {
		keys[key] = true
	}
	return slices.DeleteFunc(slices.Clone(r.history()), func(rec *store.Record) bool { return !keys[rec.Key] && !r.own(rec) }), nil
}
