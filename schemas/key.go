package schemas

import (
	"encoding/json"
	"path/filepath"
	"strings"
)

// KeyConfig is what of a configuration goes into its stage's key, as canonical JSON: decoded to the kind's type and
// written again, so that 1 and 1.0 are one, and so are a default left out and the same value written (config has its
// defaults filled). What goes in and what stays out, field by field:
//
//   - fields marked @key(none) stay out: each says why beside its definition
//   - an edge goes in as the kind of artifact it carries, since an adapter is used otherwise than a model; the names of
//     the stage and port stay out, since renaming them changes nothing, and the content is an ingredient of its own
//   - a path goes in as the ending of its name, which says how a file is read (.csv, .jsonl.gz): its bytes, or its hub commit,
//     are an ingredient of their own; the files of an exec keep their names, which its program opens
//   - description, needs and resources are no part of a configuration
//   - the cadence of an evaluation stays out unless the result follows from it, by keepBest or earlyStopping
//   - everything else goes in
func KeyConfig(kind string, config json.RawMessage) ([]byte, error) {
	v, err := Decode(kind, config)
	if err != nil {
		return nil, err
	}
	switch c := v.(type) {
	case *TrainSFT:
		if c.Objective == "nll" {
			c.Objective = "" // the same as left out
		}
		c.Eval.unkey()
	case *ModelPretrain:
		c.Eval.unkey()
	case *TrainDPO:
		c.Eval.unkey()
	case *TrainGRPO:
		c.Eval.unkey()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		return nil, err
	}
	return json.Marshal(keyed(tree, ShapeOf(kind)))
}

// unkey forgets how often is measured, and how many rows at once, where nothing of the result follows from it.
func (e *Evaluation) unkey() {
	if e != nil && !e.KeepBest && e.EarlyStopping == nil {
		e.Every, e.Batch = 0, 0
	}
}

// keyed prunes a decoded configuration to its ingredients. json.Marshal sorts the keys of what it returns.
func keyed(v any, s *Shape) any {
	switch v := v.(type) {
	case map[string]any:
		if s.Edges != nil {
			return map[string]any{"kind": v["kind"]}
		}
		for name, field := range v {
			switch child := s.child(name); {
			case child == nil: // free-form, such as a model's config.json
			case child.Unkeyed:
				delete(v, name)
			default:
				v[name] = keyed(field, child)
			}
		}
	case []any:
		for i := range v {
			if s.Elem != nil {
				v[i] = keyed(v[i], s.Elem)
			}
		}
	case string:
		if s.File && !s.Named {
			return map[string]any{"file": ending(v)}
		}
	}
	return v
}

// ending is what the name of a file tells of its format: .csv, .jsonl.gz; nothing for a name on a hub.
func ending(path string) string {
	if strings.Contains(path, "://") {
		return ""
	}
	name := strings.ToLower(filepath.Base(path))
	last := filepath.Ext(name)
	if last == ".gz" || last == ".zst" {
		return filepath.Ext(strings.TrimSuffix(name, last)) + last
	}
	return last
}

// child is the shape of a field or of a map's value; nil where the shape says nothing.
func (s *Shape) child(name string) *Shape {
	if s.Map {
		return s.Elem
	}
	return s.Fields[name]
}
