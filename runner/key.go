package runner

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// Artifact is what an edge carries, by content. An adapter has the model that it adapts.
type Artifact struct {
	Kind string
	Hash string
	Base *Artifact
}

// ingredients is all that decides a stage's result. Each line has its reason, and so has each thing left out.
//
// inputs has the artifact of each input's field, and content what each source's bytes hash to, or its hub commit.
func ingredients(s *pipelines.Stage, inputs map[string]*Artifact, content map[string]string) ([]store.Ingredient, error) {
	var list []store.Ingredient
	var unsaid error
	add := func(from, field string, value any) {
		b, err := json.Marshal(value)
		unsaid = errors.Join(unsaid, err)
		list = append(list, store.Ingredient{From: from, Field: field, Value: b})
	}
	config, err := schemas.KeyConfig(s.Kind, s.Config)
	if err != nil {
		return nil, err
	}
	fields, err := leaves(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Kind, err)
	}

	add("stage", "kind", s.Kind)                                   // two kinds do different things with the same fields
	add("stage", "implementation", schemas.Implementation(s.Kind)) // what an older hone made is not what this one makes
	list = append(list, fields...)                                 // what the user said, defaults filled; KeyConfig names what it leaves out
	for field, in := range inputs {                                // by field: a dataset to train on is not one to judge by
		add("input", field, in.Hash)                                              // content, not the upstream's key: equal bytes stop a change there
		for base, path := in.Base, field+".base"; base != nil; base = base.Base { // an adapter means nothing without its model
			add("input", path, base.Hash)
			path += ".base"
		}
	}
	if s.Rows > 0 { // a smoke's part of the rows gives a part of the result
		add("stage", "rows", s.Rows)
	}
	for field, hash := range content { // the bytes of a source, or the commit that its hub revision means: not where it lies
		add("source", field, hash)
	}
	// Left out, for they change no byte of the result:
	//   - names of the stage, its ports and its upstream stages; the pipeline's name and folder: renaming is free
	//   - description, comments and positions: they are for people
	//   - needs and gates: a gate is judged on reading the report
	//   - resources, -j, --device: where and when; threads, device and library are the record's numerics
	//   - how often it logs and saves: the schemas mark these fields
	//   - versions of dependencies and of hone: the implementation version covers them
	return sorted(list), unsaid
}

func sorted(list []store.Ingredient) []store.Ingredient {
	slices.SortFunc(list, func(a, b store.Ingredient) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.Field, b.Field))
	})
	return list
}

// key is the BLAKE3-256 of the ingredients.
func key(list []store.Ingredient) string {
	var b bytes.Buffer
	b.WriteString("hone key 1\n")
	for _, in := range list {
		fmt.Fprintf(&b, "%s %q %s\n", in.From, in.Field, in.Value)
	}
	return store.Sum(b.Bytes())
}

// leaves flattens canonical JSON to its leaves by path: lora.rank, steps[0].length.turns.max. An empty object or list
// is a leaf too, since its presence says something.
func leaves(config []byte) ([]store.Ingredient, error) {
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	var list []store.Ingredient
	var walk func(path string, v any) error
	walk = func(path string, v any) error {
		switch v := v.(type) {
		case map[string]any:
			for name, field := range v {
				below := name
				if strings.ContainsAny(name, `.["`) { // so that {"a.b": 1} and {"a": {"b": 1}} stay two
					below = strconv.Quote(name)
				}
				if path != "" {
					below = path + "." + below
				}
				if err := walk(below, field); err != nil {
					return err
				}
			}
			if len(v) > 0 || path == "" {
				return nil
			}
		case []any:
			for i, elem := range v {
				if err := walk(fmt.Sprintf("%s[%d]", path, i), elem); err != nil {
					return err
				}
			}
			if len(v) > 0 {
				return nil
			}
		}
		b, err := json.Marshal(v)
		list = append(list, store.Ingredient{From: "config", Field: path, Value: b})
		return err
	}
	return list, walk("", tree)
}
