package schemas_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/loss"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

func definitions(t *testing.T) cue.Value {
	t.Helper()
	v, err := jsonschema.Definitions(cuecontext.New())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTypesAgree walks each kind's CUE definition and Go type together. Names, types, edges, files, what is keyed and
// what has a default must be the same on both sides.
func TestTypesAgree(t *testing.T) {
	v := definitions(t)
	for _, kind := range schemas.Kinds() {
		config, err := schemas.Decode(kind, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		w := walker{t}
		path := cue.MakePath(cue.Str(kind))
		w.structs(kind, v.LookupPath(cue.ParsePath("#Stages")).LookupPath(path),
			v.LookupPath(cue.ParsePath("#Defaults")).LookupPath(path), reflect.TypeOf(config).Elem(),
			"kind", "description", "needs", "resources")
	}
	kinds, err := v.LookupPath(cue.ParsePath("#Stages")).Fields()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for kinds.Next() {
		n++
		if schemas.Implementation(kinds.Selector().Unquoted()) == 0 {
			t.Errorf("%s has no Go type", kinds.Selector())
		}
	}
	if n != len(schemas.Kinds()) {
		t.Errorf("CUE has %d kinds, Go %d", n, len(schemas.Kinds()))
	}
}

func TestNamePatternAgrees(t *testing.T) {
	if got := definitions(t).LookupPath(cue.ParsePath("#Name")); !strings.Contains(exprText(got), schemas.NamePattern) {
		t.Errorf("#Name is %s, NamePattern %s", exprText(got), schemas.NamePattern)
	}
}

func exprText(v cue.Value) string {
	_, args := v.Expr()
	s, _ := args[0].String()
	return s
}

type walker struct{ *testing.T }

func (w walker) structs(path string, v, defaults cue.Value, goType reflect.Type, skip ...string) {
	fields := map[string]reflect.StructField{}
	collect(goType, fields)
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		w.Fatalf("%s: %v", path, err)
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		field, ok := fields[name]
		if slices.Contains(skip, name) || name == "out" && !ok {
			continue
		}
		if !ok {
			w.Errorf("%s.%s is in CUE and not in Go", path, name)
			continue
		}
		delete(fields, name)
		value := it.Value()
		sub := path + "." + name
		def := lookup(defaults, name)
		w.attributes(sub, value, field)
		w.edges(sub, value, field)
		if it.FieldType()&cue.OptionalConstraint != 0 && value.IncompleteKind() != cue.StructKind && !optional(field) && !hasDefault(def) && sub != "export.format" { // whose default follows its model
			w.Errorf("%s has no default, and Go cannot tell that it is absent", sub)
		}
		if hasDefault(def) && optional(field) && sub != "eval.suites{}.maxNewTokens" { // perplexity has none
			w.Errorf("%s has a default, and Go thinks that it may be absent", sub)
		}
		w.types(sub, value, def, field.Type)
	}
	for name := range fields {
		w.Errorf("%s.%s is in Go and not in CUE", path, name)
	}
}

func (w walker) types(path string, v, def cue.Value, goType reflect.Type) {
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	switch goType {
	case reflect.TypeFor[schemas.Edge](), reflect.TypeFor[schemas.Ref](), reflect.TypeFor[schemas.Targets]():
		return
	}
	want := map[reflect.Kind]cue.Kind{
		reflect.Int: cue.IntKind, reflect.Int64: cue.IntKind, reflect.Float64: cue.NumberKind, reflect.String: cue.StringKind,
		reflect.Bool: cue.BoolKind, reflect.Struct: cue.StructKind, reflect.Map: cue.StructKind, reflect.Slice: cue.ListKind,
	}[goType.Kind()]
	if got := v.IncompleteKind(); got != want && !(want == cue.StructKind && got == cue.BottomKind) { // of a struct that must not be empty
		w.Errorf("%s is %v in CUE and %v in Go", path, got, goType)
		return
	}
	switch goType.Kind() {
	case reflect.Struct:
		w.structs(path, v, def, goType, "from", "port")
	case reflect.Slice:
		w.types(path+"[]", v.LookupPath(cue.MakePath(cue.AnyIndex)), def.LookupPath(cue.MakePath(cue.AnyIndex)), goType.Elem())
	case reflect.Map:
		if elem, ok := element(v); ok && goType.Elem().Kind() != reflect.Interface {
			inner, _ := element(def)
			w.types(path+"{}", elem, inner, goType.Elem())
		}
	}
}

// attributes compares @key(none) and @file() with the tag hone.
func (w walker) attributes(path string, v cue.Value, field reflect.StructField) {
	var tags []string
	for _, a := range v.Attributes(cue.FieldAttr) {
		switch a.Name() {
		case "file":
			tags = append(tags, strings.TrimSuffix("file,"+a.Contents(), ","))
		case "key":
			tags = append(tags, map[string]string{"none": "unkeyed"}[a.Contents()])
		}
	}
	if got := strings.Join(tags, " "); got != field.Tag.Get("hone") {
		w.Errorf("%s: attributes of CUE say %q, the tag of Go %q", path, got, field.Tag.Get("hone"))
	}
}

// edges compares the artifact kinds that an edge may carry with the tag edge.
func (w walker) edges(path string, v cue.Value, field reflect.StructField) {
	if field.Type.Kind() == reflect.Map {
		if elem, ok := element(v); ok {
			v = elem
		}
	}
	parts := []cue.Value{v}
	if op, args := v.Expr(); op == cue.OrOp {
		parts = args
	}
	var kinds []string
	for _, part := range parts {
		if !declares(part, "from") || !declares(part, "port") {
			continue
		}
		carried := strings.Fields(alternatives(lookup(part, "kind")))
		if len(carried) == 0 { // any
			carried = []string{"model", "adapter", "dataset", "report", "files"}
		}
		kinds = append(kinds, carried...)
	}
	if got := strings.Join(kinds, ","); got != field.Tag.Get("edge") && field.Name != "Ports" {
		w.Errorf("%s: CUE takes edges of %q, the tag of Go says %q", path, got, field.Tag.Get("edge"))
	}
}

// element is what a struct says of a field that it allows by a pattern.
func element(v cue.Value) (cue.Value, bool) {
	if !v.Exists() {
		return v, false
	}
	elem := cuecontext.New().CompileString("{name: _}").Unify(v).LookupPath(cue.ParsePath("name"))
	return elem, elem.Exists() && !strings.Contains(errorText(elem), "not allowed")
}

func errorText(v cue.Value) string {
	if err := v.Err(); err != nil {
		return err.Error()
	}
	return ""
}

// declares says whether a struct has a field of its own, as against a pattern that would allow it.
func declares(v cue.Value, name string) bool {
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return false
	}
	for it.Next() {
		if it.Selector().Unquoted() == name {
			return true
		}
	}
	return false
}

// alternatives lists the strings of a disjunction, or the one string; nothing for any string.
func alternatives(v cue.Value) string {
	if s, err := v.String(); err == nil {
		return s
	}
	op, args := v.Expr()
	if op != cue.OrOp && op != cue.AndOp {
		return ""
	}
	var all []string
	for _, a := range args {
		all = append(all, alternatives(a))
	}
	return strings.Join(all, " ")
}

func lookup(v cue.Value, name string) cue.Value {
	for _, sel := range []cue.Selector{cue.Str(name), cue.Str(name).Required(), cue.Str(name).Optional()} {
		if f := v.LookupPath(cue.MakePath(sel)); f.Exists() {
			return f
		}
	}
	return cue.Value{}
}

func hasDefault(v cue.Value) bool {
	_, ok := v.Default()
	return ok
}

func optional(f reflect.StructField) bool { return strings.Contains(f.Tag.Get("json"), ",omitempty") }

func collect(t reflect.Type, into map[string]reflect.StructField) {
	for f := range t.Fields() {
		if f.Anonymous {
			collect(f.Type, into)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		into[name] = f
	}
}

// TestFamiliesAgree holds the families that a pipeline may name against the templates that there are.
func TestFamiliesAgree(t *testing.T) {
	family := lookup(definitions(t).LookupPath(cue.ParsePath("#TemplateSet")), "family")
	named := strings.Fields(alternatives(family))
	slices.Sort(named)
	if have := chat.Families(); !slices.Equal(named, have) {
		t.Errorf("the schema names %q, there are %q", named, have)
	}
}

// TestLossesAgree holds the losses that a pipeline may name against those that there are, and what either side knows of a reference.
func TestLossesAgree(t *testing.T) {
	named := strings.Fields(alternatives(lookup(definitions(t).LookupPath(cue.ParsePath("#TrainDPO")), "loss")))
	if len(named) < 17 {
		t.Errorf("the schema names %q", named)
	}
	for _, kind := range named {
		p := loss.Preference{Kind: kind}
		if c := (schemas.TrainDPO{Loss: kind}); p.Known() == (kind == schemas.KTO) || c.ReferenceFree() != p.ReferenceFree() {
			t.Errorf("%s: known %v, without a reference %v", kind, p.Known(), p.ReferenceFree())
		}
	}
}
