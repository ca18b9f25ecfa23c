package pipelines

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
)

// Fields have other names in TRL, PEFT, transformers, Axolotl and LLaMA-Factory, which users of those type by habit. @elsewhere at a field's
// own definition in the schemas lists them.

// notAllowed says so of a field of a stage, and which one was probably meant: the one that other programs call so, else the nearest of those
// that may stand there.
func (c *compiler) notAllowed(s *stage, path string, have []string) string {
	const msg = "field not allowed"
	parts := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
	name := parts[len(parts)-1]
	for _, f := range fieldsOf(c.definition(s, parts[:len(parts)-1])) {
		if slices.Contains(elsewhere(f.value), name) { // beside it
			return msg + " (did you mean " + f.name + "?)"
		}
	}
	if field := fieldCalled(c.definition(s, nil), name); field != "" {
		return msg + " (did you mean " + field + "?)"
	}
	return msg + Suggest(name, have)
}

// fieldCalled is the path of the field below a definition that other programs call so; "" where there is none.
func fieldCalled(def cue.Value, name string) string {
	for _, f := range fieldsOf(def) {
		if slices.Contains(elsewhere(f.value), name) {
			return f.name
		}
		if path := fieldCalled(f.value, name); path != "" {
			return f.name + "." + path
		}
	}
	return ""
}

// elsewhere is the names that a field has in other programs.
func elsewhere(def cue.Value) []string {
	a := def.Attribute("elsewhere")
	names := make([]string, a.NumArgs())
	for i := range names {
		names[i], _ = a.Arg(i)
	}
	return names
}
