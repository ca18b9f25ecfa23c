// Package jsonschema writes the schemas as JSON Schema (draft 2020-12), for editors and tools that do not read CUE.
//
// CUE's own generator writes each definition, left open: a definition that another embeds must not refuse the other's
// fields. Every schema at the place of a field, and every definition that is not embedded, is then closed with
// unevaluatedProperties, which sees through references. What the generator makes too narrow is widened: a stage's ports, which
// depend on its fields, and structs without a choice in them, which it takes for constants.
package jsonschema

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"
	cuejsonschema "cuelang.org/go/encoding/jsonschema"

	"github.com/hone-ml/hone/schemas"
)

// Definitions evaluates the schemas' own files.
func Definitions(ctx *cue.Context) (cue.Value, error) {
	inst := build.NewContext().NewInstance("", nil)
	names, err := fs.Glob(schemas.Files, "*.cue")
	if err != nil {
		return cue.Value{}, err
	}
	for _, name := range names {
		b, err := schemas.Files.ReadFile(name)
		if err != nil {
			return cue.Value{}, err
		}
		file, err := parser.ParseFile(name, b, parser.ParseComments)
		if err != nil {
			return cue.Value{}, err
		}
		if err := inst.AddSyntax(file); err != nil {
			return cue.Value{}, err
		}
	}
	if err := inst.Complete(); err != nil {
		return cue.Value{}, err
	}
	v := ctx.BuildInstance(inst)
	return v, v.Err()
}

// Kind is the JSON Schema of a stage of a kind.
func Kind(kind string) (json.RawMessage, error) {
	if schemas.Implementation(kind) == 0 {
		return nil, fmt.Errorf("unknown kind %q", kind)
	}
	ctx := cuecontext.New()
	v, err := Definitions(ctx)
	if err != nil {
		return nil, err
	}
	s, err := kindSchema(ctx, v, kind)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(s, "", "\t")
}

// Pipeline is the JSON Schema of a pipeline: each stage by its kind.
func Pipeline() (json.RawMessage, error) {
	ctx := cuecontext.New()
	v, err := Definitions(ctx)
	if err != nil {
		return nil, err
	}
	defs := map[string]any{}
	var cases []any
	for _, kind := range schemas.Kinds() {
		s, err := kindSchema(ctx, v, kind)
		if err != nil {
			return nil, err
		}
		shared, _ := s["$defs"].(map[string]any)
		maps.Copy(defs, shared)
		delete(s, "$defs")
		delete(s, "$schema")
		defs[kind] = s
		cases = append(cases, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": kind}}},
			"then": map[string]any{"$ref": "#/$defs/" + kind},
		})
	}
	text := map[string]any{"type": "string"}
	return json.MarshalIndent(map[string]any{
		"$schema":  "https://json-schema.org/draft/2020-12/schema",
		"title":    "a pipeline of hone",
		"type":     "object",
		"required": []string{"name", "stages"},
		"properties": map[string]any{
			"name":        text,
			"description": text,
			"stages": map[string]any{
				"type":                 "object",
				"additionalProperties": false,
				"patternProperties": map[string]any{schemas.NamePattern: map[string]any{
					"type":       "object",
					"required":   []string{"kind"},
					"properties": map[string]any{"kind": map[string]any{"enum": schemas.Kinds()}},
					"allOf":      cases,
				}},
			},
		},
		"additionalProperties": false,
		"$defs":                defs,
	}, "", "\t")
}

func kindSchema(ctx *cue.Context, v cue.Value, kind string) (map[string]any, error) {
	def := v.LookupPath(cue.MakePath(cue.Def("#Stages"), cue.Str(kind)))
	expr, err := cuejsonschema.Generate(def, &cuejsonschema.GenerateConfig{ExplicitOpen: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	b, err := ctx.BuildExpr(expr).MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	var s map[string]any
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, err
	}
	widen(s)
	c := closer{}
	c.findEmbedded(s)
	c.closeFields(s, true)
	if defs, ok := s["$defs"].(map[string]any); ok {
		for name, d := range defs {
			c.closeFields(d, !c["#/$defs/"+name])
		}
	}
	fillsIn(s, kind)
	return s, nil
}

// widen takes back what the generator says beyond the schemas: that a struct is a constant, where its fields have one value as the
// schemas stand, and that a choice takes any other field.
func widen(v any) {
	switch v := v.(type) {
	case map[string]any:
		if fields, ok := v["const"].(map[string]any); ok && len(fields) > 0 {
			delete(v, "const")
			properties := map[string]any{}
			for name, value := range fields {
				properties[name] = map[string]any{"const": value}
				if _, object := value.(map[string]any); object {
					properties[name] = map[string]any{"type": "object"}
				}
			}
			v["type"], v["properties"], v["required"] = "object", properties, slices.Sorted(maps.Keys(fields))
		}
		for _, choice := range []string{"oneOf", "anyOf", "allOf"} {
			of, _ := v[choice].([]any)
			for _, each := range of {
				if each, ok := each.(map[string]any); ok && each["additionalProperties"] == true {
					delete(each, "additionalProperties")
				}
			}
		}
		for _, child := range v {
			widen(child)
		}
	case []any:
		for _, child := range v {
			widen(child)
		}
	}
}

// fillsIn makes what hone fills in optional: a stage's ports, whose kinds depend on its fields, and of an exec's the names alone.
func fillsIn(s map[string]any, kind string) {
	defs, _ := s["$defs"].(map[string]any)
	for _, d := range defs {
		def, _ := d.(map[string]any) // true where anything goes
		own := func(part map[string]any) bool {
			fields, _ := part["properties"].(map[string]any)
			k, _ := fields["kind"].(map[string]any)
			return k["const"] == kind
		}
		if !slices.ContainsFunc(parts(def), own) {
			continue
		}
		for _, part := range parts(def) {
			if kind != "exec" {
				optional(part, "out")
				if fields, ok := part["properties"].(map[string]any); ok && fields["out"] != nil {
					fields["out"] = map[string]any{"type": "object", "description": "out ports, which hone fills in."}
				}
				continue
			}
			ports, _ := part["properties"].(map[string]any)["out"].(map[string]any)["patternProperties"].(map[string]any)
			for _, port := range ports {
				optional(port.(map[string]any), "from", "port")
			}
		}
	}
}

// parts is a schema and those that it is put together from.
func parts(s map[string]any) []map[string]any {
	all := []map[string]any{s}
	of, _ := s["allOf"].([]any)
	for _, p := range of {
		if part, ok := p.(map[string]any); ok {
			all = append(all, parts(part)...)
		}
	}
	return all
}

func optional(s map[string]any, names ...string) {
	required, ok := s["required"].([]any)
	if !ok {
		return
	}
	s["required"] = slices.DeleteFunc(required, func(v any) bool { return slices.Contains(names, v.(string)) })
}

// closer closes schemas. It holds the definitions, as references to them, that others embed.
type closer map[string]bool

// findEmbedded notes what stands beside fields by reference: a definition that is embedded there.
func (c closer) findEmbedded(v any) {
	switch v := v.(type) {
	case map[string]any:
		if describesFields(v) {
			for _, part := range parts(v) {
				if ref, ok := part["$ref"].(string); ok {
					c[ref] = true
				}
			}
		}
		for _, child := range v {
			c.findEmbedded(child)
		}
	case []any:
		for _, child := range v {
			c.findEmbedded(child)
		}
	}
}

// closeFields closes the schemas of all fields below v, and v itself if it is one.
func (c closer) closeFields(v any, field bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			switch key {
			case "properties", "patternProperties":
				if fields, ok := child.(map[string]any); ok {
					for _, f := range fields {
						c.closeFields(f, true)
					}
				}
			case "items", "additionalProperties":
				c.closeFields(child, true)
			case "allOf", "anyOf", "oneOf":
				c.closeFields(child, false)
			}
		}
		refers := slices.ContainsFunc(parts(v), func(part map[string]any) bool {
			ref, _ := part["$ref"].(string)
			return c[ref]
		})
		if _, open := v["additionalProperties"]; field && !open && (refers || describesFields(v)) {
			v["unevaluatedProperties"] = false
		}
	case []any:
		for _, child := range v {
			c.closeFields(child, field)
		}
	}
}

// describesFields says whether a schema names the fields of an object, itself or in a part of it.
func describesFields(s map[string]any) bool {
	return slices.ContainsFunc(parts(s), func(part map[string]any) bool { return part["properties"] != nil || part["patternProperties"] != nil })
}
