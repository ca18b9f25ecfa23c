package runner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Pulled is a stage that Pull looked at.
type Pulled struct {
	*StagePlan
	Status string `json:"status"` // pulled, there, or missing: neither the store nor the remote has what it would make
}

// Pull brings what the selected stages would reuse from elsewhere into the store, and keeps it from gc as a run does. done is told of
// each stage, perhaps several at once.
func (r *Runner) Pull(ctx context.Context, done func(*Pulled)) ([]*Pulled, error) {
	if err := r.store.Init(); err != nil {
		return nil, err
	}
	use, err := r.store.Use()
	if err != nil {
		return nil, err
	}
	defer use.Close()
	plan, err := r.Plan()
	if err != nil {
		return nil, err
	}
	keys := map[string]string{}
	all := make([]*Pulled, len(plan.Stages))
	for i, s := range plan.Stages {
		all[i] = &Pulled{s, "missing"}
		if s.Record != nil {
			keys[s.Name] = s.Record.Key
			all[i].Status = "there"
		}
		if s.From != "" {
			all[i].Status = "pulled"
		}
	}
	if err := r.setRef(keys); err != nil { // first: gc must not free what comes meanwhile
		return nil, err
	}
	const atOnce = 8
	errs, slots := make(chan error, len(all)), make(chan struct{}, atOnce)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range all {
		go func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs <- r.pull(inner, p, done)
		}()
	}
	var failed []error
	for range all {
		if err := <-errs; err != nil && inner.Err() == nil {
			failed = append(failed, err)
			if lacking(err) { // nor will the others come
				cancel()
			}
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return all, errors.Join(failed...)
}

func (r *Runner) pull(ctx context.Context, p *Pulled, done func(*Pulled)) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if p.Status == "pulled" {
		for _, port := range slices.Sorted(maps.Keys(p.Record.Outputs)) {
			if err := r.bring(ctx, p.Record.Outputs[port].Hash); err != nil {
				return fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	done(p)
	return nil
}
