package main

import (
	"reflect"
	"slices"

	"github.com/hone-ml/hone/pipelines"
)

// swept is the kinds that sweeps are of, those that train first: the first with a sweep is shown, for the others follow from it.
var swept = [][]string{
	{"train.sft", "train.dpo", "train.grpo", "model.pretrain"},
	{"curate.distill", "curate.reject", "curate.filter", "curate.mix", "model.merge", "generate"},
	{"exec"},
	{"eval"},
}

// few is how many fields the stages of a sweep may differ in at most; of kinds with fewer fields a quarter of them, two in any case.
const few, fewOf = 8, 4

// sweeps are the groups of a pipeline's stages that are of one kind, differ in a few fields, and do not follow from each other.
func sweeps(g *pipelines.Graph) (found [][]*pipelines.Stage) {
	before := map[string]map[string]bool{} // by stage: those that it follows from
	for _, s := range g.Stages {
		all := map[string]bool{}
		for _, in := range s.Inputs {
			all[in.Edge.From] = true
			for name := range before[in.Edge.From] {
				all[name] = true
			}
		}
		before[s.Name] = all
	}
	for _, kinds := range swept {
		for _, kind := range kinds {
			var groups [][]*pipelines.Stage
			for _, s := range g.Stages {
				if s.Kind != kind || s.Internal {
					continue
				}
				i := slices.IndexFunc(groups, func(group []*pipelines.Stage) bool {
					return !slices.ContainsFunc(group, func(o *pipelines.Stage) bool { return before[s.Name][o.Name] || before[o.Name][s.Name] }) &&
						alike(group[0], s)
				})
				if i < 0 {
					groups = append(groups, []*pipelines.Stage{s})
				} else {
					groups[i] = append(groups[i], s)
				}
			}
			for _, group := range groups {
				if len(group) > 1 {
					found = append(found, group)
				}
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// alike says whether two stages of a kind differ in a few fields.
func alike(a, b *pipelines.Stage) bool {
	values := map[string]any{}
	for _, f := range a.Fields {
		values[f.Path] = f.Value
	}
	n, fields := 0, len(values)
	for _, f := range b.Fields {
		v, ok := values[f.Path]
		delete(values, f.Path)
		if !ok || !reflect.DeepEqual(v, f.Value) {
			n++
		}
	}
	n += len(values)
	return n <= max(2, min(few, fields/fewOf)) && n < fields/2
}
