package model

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// TemplateSet is template.set: the model with another chat template, other special tokens, other generation defaults.
// Weights are linked, not copied, and the embedding keeps its rows: a special token must be one of the vocabulary.
func TemplateSet(ctx context.Context, j *stages.Job) error {
	var c schemas.TemplateSet
	if err := j.Decode(&c); err != nil {
		return err
	}
	in, out := j.In("model").Path, j.Out("model")
	bare := !exists(in, "model.safetensors") && !exists(in, "model.safetensors.index.json") // a vet.tokenizer
	if bare {
		if err := modeldir.CopyCompanions(out, in); err != nil {
			return err
		}
	} else if err := modeldir.CopyModel(ctx, out, in, modeldir.Link); err != nil {
		return err
	}
	tokens, err := tokenizer.Load(in)
	if err != nil {
		return trim(err, in)
	}
	defer tokens.Close()
	source, field, err := templateSource(j, &c)
	if err != nil {
		return stages.Errorf(field, "%w", err)
	}
	if field != "" {
		if err := setTemplate(out, source); err != nil {
			return stages.Errorf(field, "%w", err)
		}
		if unknown := unknownTokens(source, tokens); len(unknown) > 0 {
			j.Warn("%s writes what this model has no token for, and will see as several: %s", field, strings.Join(unknown, " "))
		}
	}
	if err := setSpecial(out, tokens, c.SpecialTokens); err != nil {
		return err
	}
	return setGeneration(out, c.Generation)
}

// templateSource returns the template and the field that it comes from, "" where none is given.
func templateSource(j *stages.Job, c *schemas.TemplateSet) (source, field string, err error) {
	switch {
	case c.Template != "":
		return c.Template, "template", nil
	case c.File != "":
		path := j.File("file")
		b, err := bounded.ReadFile(path, jinja.MaxSource)
		return string(b), path, err
	case c.Family != "":
		t, err := chat.Family(c.Family)
		if err != nil {
			return "", "family", err
		}
		return t.Source, "family", nil
	}
	return "", "", nil
}

// setTemplate makes source the folder's only template. Others, named ones too, would win in some readers.
func setTemplate(out, source string) error {
	if _, err := chat.Parse(source); err != nil {
		return err
	}
	for _, old := range []string{"chat_template.json", "additional_chat_templates"} {
		if err := os.RemoveAll(filepath.Join(out, old)); err != nil {
			return err
		}
	}
	if err := modeldir.Edit(out, "tokenizer_config.json", func(o *ordjson.Object) { o.Delete("chat_template") }); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "chat_template.jinja"), []byte(source), 0o644)
}

var markers = regexp.MustCompile(`<\|[A-Za-z0-9_]+\|>`)

// unknownTokens lists markers such as <|im_end|> in a template that are no tokens.
func unknownTokens(source string, t *tokenizer.Tokenizer) []string {
	found := markers.FindAllString(source, -1)
	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(s string) bool {
		_, known := t.TokenToID(s)
		return known
	})
}

// setSpecial names the special tokens in all files that name them. Every id that ended a generation still does.
func setSpecial(out string, t *tokenizer.Tokenizer, tokens map[string]string) error {
	for _, role := range slices.Sorted(maps.Keys(tokens)) {
		text := tokens[role]
		id, ok := t.TokenToID(text)
		if !ok {
			return stages.Errorf("specialTokens."+role, "%q is not a token of this model, and its embedding has no row for one more: choose one of its %d", text, t.VocabSize())
		}
		key := role + "_token"
		name := func(o *ordjson.Object) { o.Set(key, text) }
		if err := modeldir.Edit(out, "tokenizer_config.json", name); err != nil {
			return err
		}
		if err := modeldir.Edit(out, "special_tokens_map.json", func(o *ordjson.Object) {
			if o.Len() > 0 {
				name(o)
			}
		}); err != nil {
			return err
		}
		if role == "unk" {
			continue
		}
		number := ordjson.Number(fmt.Sprint(id))
		if err := modeldir.Edit(out, "config.json", func(o *ordjson.Object) { o.Set(key+"_id", number) }); err != nil {
			return err
		}
		if err := modeldir.Edit(out, "generation_config.json", func(o *ordjson.Object) {
			old, _ := o.Get(key + "_id")
			if role == "eos" {
				o.Set(key+"_id", alsoStop(number, old, t.StopIDs))
			} else {
				o.Set(key+"_id", number)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// alsoStop puts a new eos id before those that there are, as transformers' Trainer does: in the file, or else those
// that the model stops at without one.
func alsoStop(id ordjson.Number, old ordjson.Value, stops []int32) ordjson.Value {
	list := []ordjson.Value{id}
	add := func(v ordjson.Value) {
		if v != nil && !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	switch old := old.(type) {
	case nil:
		for _, s := range stops {
			add(ordjson.Number(fmt.Sprint(s)))
		}
	case []ordjson.Value:
		for _, v := range old {
			add(v)
		}
	default:
		add(old)
	}
	if len(list) == 1 {
		return id
	}
	return list
}

// setGeneration merges fields into generation_config.json; null removes one.
func setGeneration(out string, fields map[string]any) error {
	if len(fields) == 0 {
		return nil
	}
	b, err := json.Marshal(fields, json.Deterministic(true))
	if err != nil {
		return stages.Errorf("generation", "%w", err)
	}
	given := &ordjson.Object{}
	if err := given.UnmarshalJSON(b); err != nil {
		return stages.Errorf("generation", "%w", err)
	}
	return modeldir.Edit(out, "generation_config.json", func(o *ordjson.Object) {
		// This mark tells transformers to make the file anew from config.json, which would lose the fields.
		o.Delete("_from_model_config")
		for _, m := range given.Members() {
			if m.Value == nil {
				o.Delete(m.Key)
			} else {
				o.Set(m.Key, m.Value)
			}
		}
	})
}
