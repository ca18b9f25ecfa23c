package pipelines

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
)

// wants says that a value is of a type that its field does not take, and how it is written if it fits a field or a list
// there; empty where the type is right. All of it is read from the definition: there is no table of mistakes.
func (c *compiler) wants(s *stage, parts []string, x any) string {
	def := c.definition(s, parts)
	if x == nil || !def.Exists() || typeOf(def)&kindOf(x) != 0 && !(isEdge(x) && len(fieldsOf(def)) > 0) {
		return ""
	}
	msg := "wants " + wanted(def) + ", not " + brief(x)
	label := parts[len(parts)-1] + ": "
	if _, err := strconv.Atoi(parts[len(parts)-1]); err == nil {
		label = "" // an item of a list
	}
	switch text := c.express(def, x); {
	case x == false && typeOf(def) == cue.StructKind:
		msg += ": leave it out"
	case text != "":
		msg += ": write " + label + text
	}
	return msg
}

// definition is what the schemas say of a field of a stage.
func (c *compiler) definition(s *stage, parts []string) cue.Value {
	v := c.kinds.LookupPath(cue.MakePath(cue.Str(s.kind)))
	for _, part := range parts {
		step := cue.Str(part).Optional() // finds required fields and patterns too
		if _, err := strconv.Atoi(part); err == nil && typeOf(v)&cue.ListKind != 0 {
			step = cue.AnyIndex
		}
		v = v.LookupPath(cue.MakePath(step))
	}
	return v
}

// typeOf is the types that a definition takes.
func typeOf(def cue.Value) cue.Kind {
	if kind := def.IncompleteKind(); kind != cue.BottomKind {
		return kind
	}
	return cue.StructKind // one that must not be empty, as it stands an error
}

// kindOf is the type of a value of a stage's tree.
func kindOf(x any) cue.Kind {
	switch x := x.(type) {
	case bool:
		return cue.BoolKind
	case string:
		return cue.StringKind
	case json.Number:
		if strings.ContainsAny(x.String(), ".eE") {
			return cue.FloatKind
		}
		return cue.IntKind
	case []any:
		return cue.ListKind
	}
	return cue.StructKind
}

// field is one of a definition's.
type field struct {
	name     string
	value    cue.Value
	required bool
}

// fieldsOf are those that a definition names for users to write, what must be there first.
func fieldsOf(def cue.Value) (all []field) {
	it, err := def.Fields(cue.Optional(true), cue.Patterns(true)) // with patterns, a struct that must not be empty is no error
	if err != nil {
		return nil
	}
	for it.Next() {
		if sort := it.Selector().ConstraintType(); sort != 0 && sort != cue.PatternConstraint {
			all = append(all, field{it.Selector().Unquoted(), it.Value(), sort == cue.RequiredConstraint})
		}
	}
	first := func(f field) int { return map[bool]int{true: 0, false: 1}[f.required] }
	slices.SortStableFunc(all, func(a, b field) int { return first(a) - first(b) })
	return all
}

// anyName is what stands behind any name in a map.
var anyName = cue.MakePath(cue.Str("NAME").Optional())

// wanted is a definition's type in words.
func wanted(def cue.Value) string {
	kind := typeOf(def)
	var words []string
	for _, k := range []struct {
		kind cue.Kind
		word string
	}{{cue.StringKind, "a string"}, {cue.BoolKind, "true or false"}, {cue.ListKind, "a list"}} {
		if kind&k.kind != 0 {
			words = append(words, k.word)
		}
	}
	switch {
	case kind&cue.FloatKind != 0:
		words = append(words, "a number")
	case kind&cue.IntKind != 0:
		words = append(words, "a whole number")
	}
	if kind&cue.StructKind != 0 {
		words = append(words, wantedStruct(def))
	}
	return strings.Join(words, " or ")
}

func wantedStruct(def cue.Value) string {
	var names []string
	for _, f := range fieldsOf(def) {
		names = append(names, f.name)
	}
	if len(names) > 4 {
		names = append(names[:3], "…")
	}
	if named := def.LookupPath(anyName); len(names) == 0 && named.Exists() {
		return "{NAME: " + wanted(named) + "}"
	}
	return "{" + strings.Join(names, ", ") + "}"
}

// express writes x as the definition takes it: as it is, as the only item of a list, or as the field that it fits. It
// is empty where there is no such way.
func (c *compiler) express(def cue.Value, x any) string {
	if c.fits(def, x) {
		return literal(x)
	}
	if n, ok := x.(json.Number); ok { // 1e3 is no whole number for CUE
		if f, err := n.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && kindOf(x) == cue.FloatKind {
			return c.express(def, json.Number(strconv.FormatFloat(f, 'f', 0, 64)))
		}
	}
	if typeOf(def) == cue.ListKind {
		if item := c.express(def.LookupPath(cue.MakePath(cue.AnyIndex)), x); item != "" {
			return "[" + item + "]"
		}
		return ""
	}
	if typeOf(def) != cue.StructKind {
		return ""
	}
	fields := fieldsOf(def)
	if named := def.LookupPath(anyName); len(fields) == 0 && named.Exists() {
		if item := c.express(named, x); item != "" {
			return "{NAME: " + item + "}"
		}
		return ""
	}
	must := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return !f.required })
	if x == true {
		if len(must) == 0 && !c.fits(def, map[string]any{}) {
			return ""
		}
		var text []string
		for _, f := range must {
			text = append(text, f.name+": …")
		}
		return "{" + strings.Join(text, ", ") + "}"
	}
	if len(must) > 0 {
		fields = must
	}
	for _, f := range fields {
		if (f.required || typeOf(f.value)&cue.StructKind == 0) && c.fits(f.value, x) {
			return "{" + f.name + ": " + literal(x) + "}"
		}
	}
	return ""
}

// fits says whether a value is one that the definition takes.
func (c *compiler) fits(def cue.Value, x any) bool {
	v, err := c.encode(x)
	return err == nil && def.Unify(v).Validate(cue.Concrete(true)) == nil
}

func isEdge(x any) bool { _, ok := edgeText(x); return ok }

// edgeText is an edge as a user writes it.
func edgeText(x any) (string, bool) {
	switch x := x.(type) {
	case *Edge:
		return "stages." + x.From + ".out." + x.Port, x.From != ""
	case map[string]any:
		from, ok1 := x["from"].(string)
		port, ok2 := x["port"].(string)
		return "stages." + from + ".out." + port, ok1 && ok2
	}
	return "", false
}

// brief is a value as a message names it.
func brief(x any) string {
	switch {
	case isEdge(x):
		return "an edge"
	case kindOf(x) == cue.StructKind:
		return "a struct"
	case kindOf(x) == cue.ListKind:
		return "a list"
	}
	return valueAt(x, "")
}

// literal is a value as a user writes it.
func literal(x any) string {
	if text, ok := edgeText(x); ok {
		return text
	}
	switch kindOf(x) {
	case cue.StructKind:
		return "{…}"
	case cue.ListKind:
		return "[…]"
	}
	return valueAt(x, "")
}
