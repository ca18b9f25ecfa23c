package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

// unkeyed is every field of the schemas that changes no key, with the reason. A path is the field's within its stage, in whatever
// kind; so it counts for all that lies below it.
var unkeyed = map[string]string{
	"description":    "is for people",
	"needs":          "when a stage runs, not what it makes",
	"resources":      "where and when; threads are the record's numerics",
	"logEvery":       "how much is told of a training",
	"saveEvery":      "how much an interruption costs",
	"saveTotalLimit": "how much room checkpoints take",
	"gate":           "is judged on reading the report",
	"eval.every":     "nothing of the result follows from it, without keepBest and earlyStopping",
	"eval.batch":     "as eval.every",
}

// keyedWith is the fields beside which a field of unkeyed is an ingredient after all.
var keyedWith = map[string][]string{
	"eval.every": {"keepBest", "earlyStopping"},
	"eval.batch": {"keepBest", "earlyStopping"},
}

// leftOut is what a field means that has no default of the schemas and is left out; that of a bool is false.
var leftOut = map[string]string{
	"objective": `"nll"`,
}

// swapped is a field in whose stead another is written, since it has no value to change.
var swapped = map[string]string{
	"suites{}.perplexity": `exact: {}`,
	"suites{}.exact":      `contains: column: "a"`,
	"suites{}.number":     `contains: column: "a"`,
	"rewards{}.exact":     `contains: column: "a"`,
	"rewards{}.number":    `contains: column: "a"`,
	"graders{}.exact":     `contains: column: "a"`,
	"graders{}.number":    `contains: column: "a"`,
	"steps[].exact":       `length: characters: min: 1`,
}

// choice is fields of which a stage has exactly one: none is taken out.
var choice = regexp.MustCompile(`^(source|config)$|^steps\[\]\.\w+$|^(suites|graders|rewards)\{\}\.(perplexity|exact|contains|regex|number|jsonSchema|sql|cel|exec)$`)

const undecided = `%s: no stage of testdata/keys/stages.cue has this field, and nobody has said whether it changes a key.
	Write it there with a value that is not its default. If it is to change no key, give it @key(none) and an entry of unkeyed with the reason.`

// TestKeyMutations changes every field of every kind, one at a time, in stages as a user writes them, and compares keys: a field
// that is changed or taken out changes the key, but for those of unkeyed; a default that is written is one that is left out.
// What the schemas refuse is no mutation.
func TestKeyMutations(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // CUE makes much garbage
	dir := inputFolder(t)
	m, leaves := readMutations(t)
	compile(t, dir, m)
	tried := map[string]bool{} // true where one was accepted
	excused := map[string]bool{}
	var explicit []*mutation
	for _, x := range m {
		leaf := x.leaf()
		tried[leaf] = tried[leaf] || x.stage != nil
		if x.stage == nil || x.path == "" {
			continue
		}
		field, free := x.unkeyed()
		excused[field] = excused[field] || free
		equal := x.key == x.base.key
		switch {
		case !free && equal && x.what == removed && x.config() == x.base.config():
			t.Errorf("%s: was the default in testdata/keys/stages.cue; write another value there", x)
		case (free || x.what == renamed) && !equal:
			t.Errorf("%s: changes the key, and it should not: %s", x, cmp.Or(unkeyed[field], "the content is the same"))
		case !free && x.what != renamed && equal:
			t.Errorf("%s: leaves the key as it is: what is reused was made otherwise. Put it into the key, or give it @key(none) and an entry of unkeyed with the reason", x)
		}
		if x.what != removed {
			continue
		}
		if y := x.explicit(); y != nil {
			explicit = append(explicit, y)
		}
	}
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		if accepted, ok := tried[leaf]; !ok {
			t.Errorf(undecided, leaf)
		} else if !accepted {
			t.Errorf("%s: the schemas refuse whatever this test puts there; give the stage in testdata/keys/stages.cue another value", leaf)
		}
	}
	for field := range unkeyed {
		if !excused[field] {
			t.Errorf("unkeyed has %s, and no stage of testdata/keys/stages.cue has such a field", field)
		}
	}
	compile(t, dir, explicit)
	for _, x := range explicit {
		if x.stage != nil && x.key != x.base.key {
			t.Errorf("%s: is what it means when it is left out, and changes the key", x)
		}
	}
	t.Logf("%d fields, %d mutations, %d defaults", len(leaves), len(m), len(explicit))
}

// mutation is a stage of testdata/keys/stages.cue with one field changed, or one as it stands there, with no path.
type mutation struct {
	kind string
	path string // of the field in its kind; a list's elements are [], a map's values {}
	what string // was done to it
	text string // of the stage in CUE
	base *mutation

	was           string   // the field in the text of base
	before, after string   // what stands around the field in the text of base
	within        []string // where the field is in a configuration

	stage *pipelines.Stage // nil where the schemas refuse it
	key   string
}

const (
	renamed = "by another name" // the same content
	removed = "removed"
)

func (x *mutation) String() string { return fmt.Sprintf("%s.%s %s", x.kind, x.path, x.what) }

// leaf is the path with the kind, or with #Stage for what all kinds have.
func (x *mutation) leaf() string {
	switch field, _ := x.unkeyed(); field {
	case "description", "needs", "resources":
		return "#Stage." + x.path
	}
	return x.kind + "." + x.path
}

// unkeyed is the entry that the field has in unkeyed.
func (x *mutation) unkeyed() (field string, ok bool) {
	for field := range unkeyed {
		if x.path == field || strings.HasPrefix(x.path, field+".") || strings.HasPrefix(x.path, field+"[") || strings.HasPrefix(x.path, field+"{") {
			return field, !slices.ContainsFunc(keyedWith[field], func(other string) bool { return strings.Contains(x.base.text, other+":") })
		}
	}
	return "", false
}

// config is the configuration, in which the stages that Compile adds are named after the stage.
func (x *mutation) config() string {
	return strings.ReplaceAll(string(x.stage.Config), `"`+x.stage.Name+"/", `"/`)
}

// explicit writes out what a field means that is left out.
func (x *mutation) explicit() *mutation {
	var v any
	if err := json.Unmarshal(x.stage.Config, &v); err != nil {
		panic(err)
	}
	for _, name := range x.within {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			if i, err := strconv.Atoi(name); err == nil {
				v = in[i]
			}
		}
	}
	label, value := x.within[len(x.within)-1], leftOut[x.path]
	switch v.(type) {
	case nil:
		if !strings.HasSuffix("."+x.path, "."+label) { // a name of the user's, whose value has a meaning of its own
			return nil
		}
		if value == "" && strings.HasSuffix(x.was, "true") {
			value = "false"
		}
		if value == "" {
			return nil
		}
	case map[string]any:
		return nil // its fields are written one by one
	default:
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		value = string(b)
	}
	return &mutation{kind: x.kind, path: x.path, what: "written " + value, base: x, text: x.before + label + ": " + value + x.after}
}

// inputFolder is a copy of testdata/keys without its stages. Of each file there, same/FILE is a copy and other/FILE is not.
func inputFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	testdata := os.DirFS("testdata/keys")
	err := fs.WalkDir(testdata, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == "stages.cue" {
			return err
		}
		b, err := fs.ReadFile(testdata, path)
		if err != nil {
			return err
		}
		files := map[string][]byte{"same": b, "other": append(slices.Clone(b), ' ')}
		if filepath.Ext(path) == ".cue" {
			files = map[string][]byte{}
		}
		files["."] = b
		for in, b := range files {
			to := filepath.Join(dir, in, path)
			if err := cmp.Or(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, 0o644)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// compile loads all mutations as one pipeline, and again without those that the schemas refuse.
func compile(t *testing.T, dir string, list []*mutation) {
	t.Helper()
	refused := map[*mutation]bool{}
	for range 4 {
		g, errs := compileOnce(t, dir, list, refused)
		if g != nil {
			keys := keyer{t: t, g: g, known: map[string]string{}}
			for i, x := range list {
				if x.stage = g.Stage(stageName(i)); x.stage != nil {
					x.key = keys.of(x.stage.Name)
				}
			}
			return
		}
		for _, e := range errs {
			name, _, _ := strings.Cut(strings.TrimPrefix(e.Path, "stages."), ".")
			i, err := strconv.Atoi(strings.TrimPrefix(name, "m"))
			if err != nil || list[i].path == "" {
				t.Fatalf("testdata/keys: %v", e)
			}
			t.Logf("refused: %s: %v", list[i], e)
			refused[list[i]] = true
		}
	}
	t.Fatal("testdata/keys: each time others are refused")
}

func stageName(i int) string { return "m" + strconv.Itoa(i) }

func compileOnce(t *testing.T, dir string, list []*mutation, refused map[*mutation]bool) (*pipelines.Graph, pipelines.Errors) {
	t.Helper()
	var b strings.Builder
	b.WriteString("package keys\n\nstages: {\n")
	for i, x := range list {
		if !refused[x] {
			fmt.Fprintf(&b, "%s: %s\n", stageName(i), x.text)
		}
	}
	b.WriteString("}\n")
	if err := os.WriteFile(filepath.Join(dir, "mutations.cue"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := pipelines.Load(dir, pipelines.Options{})
	var g *pipelines.Graph
	if err == nil {
		g, err = pipelines.Compile(p)
	}
	var errs pipelines.Errors
	if err != nil && !errors.As(err, &errs) {
		t.Fatal(err)
	}
	return g, errs
}

// keyer finds keys without running anything: what a stage makes is known by the stage's key.
type keyer struct {
	t     *testing.T
	g     *pipelines.Graph
	known map[string]string
}

func (k keyer) of(name string) string {
	if key, ok := k.known[name]; ok {
		return key
	}
	s := k.g.Stage(name)
	inputs, content := map[string]*Artifact{}, map[string]string{}
	for _, in := range s.Inputs {
		inputs[in.Field] = k.artifact(in.Edge)
	}
	for _, src := range s.Sources {
		if err := filepath.WalkDir(src.Path, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			content[src.Field] += filepath.Base(path) + "\n" + string(b)
			return err
		}); err != nil {
			k.t.Fatal(err)
		}
	}
	list, err := ingredients(s, inputs, content)
	if err != nil {
		k.t.Fatal(err)
	}
	k.known[name] = key(list)
	return k.known[name]
}

func (k keyer) artifact(e pipelines.Edge) *Artifact {
	a := &Artifact{Kind: e.Kind, Hash: k.of(e.From) + "/" + e.Port}
	if b := k.g.Base(e); b != nil {
		a.Base = k.artifact(*b)
	}
	return a
}

// readMutations finds what can be done to each field of the stages in testdata/keys/stages.cue, and all leaves of the schemas.
func readMutations(t *testing.T) (list []*mutation, leaves map[string]bool) {
	t.Helper()
	v, err := jsonschema.Definitions(cuecontext.New())
	if err != nil {
		t.Fatal(err)
	}
	leaves = map[string]bool{}
	kinds := map[string]*shape{}
	common := readShape(v.LookupPath(cue.MakePath(cue.Def("#Stage"))))
	common.leaves("#Stage", leaves)
	for _, kind := range schemas.Kinds() {
		s := readShape(v.LookupPath(cue.MakePath(cue.Def("#Stages"), cue.Str(kind))))
		delete(s.fields, "kind")
		for name := range common.fields {
			delete(s.fields, name)
		}
		if kind != "exec" {
			delete(s.fields, "out")
		}
		s.leaves(kind, leaves)
		maps.Copy(s.fields, common.fields)
		kinds[kind] = s
	}
	const path = "testdata/keys/stages.cue"
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(path, src)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, d := range file.Decls {
		stages, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		for _, d := range stages.Value.(*ast.StructLit).Elts {
			stage := d.(*ast.Field).Value.(*ast.StructLit)
			start, end := stage.Pos().Offset(), stage.End().Offset()
			w := &mutator{src: string(src[:end]), start: start, base: &mutation{text: string(src[start:end])}, seen: seen}
			w.base.kind = kindOf(stage)
			w.list = append(w.list, w.base)
			w.fields(place{}, stage, kinds[w.base.kind])
			list = append(list, w.list...)
		}
	}
	return list, leaves
}

func kindOf(stage *ast.StructLit) string {
	for _, d := range stage.Elts {
		f := d.(*ast.Field)
		if name, _, _ := ast.LabelName(f.Label); name == "kind" {
			kind, _ := strconv.Unquote(f.Value.(*ast.BasicLit).Value)
			return kind
		}
	}
	return ""
}

// shape is what the schemas say of a field.
type shape struct {
	fields   map[string]*shape
	elem     *shape // of a list or a map
	list     bool
	named    bool     // a path that is in the key beside its bytes
	file     bool     // a path
	enum     []string // in CUE
	needed   bool     // written in every stage
	constant bool     // may have one value alone
}

func readShape(v cue.Value) *shape {
	s := &shape{}
	if a := v.Attribute("file"); a.Err() == nil {
		s.file, s.named = true, a.Contents() == "named"
	}
	s.constant = v.IsConcrete()
	op, parts := v.Expr()
	if op == cue.OrOp {
		for _, part := range parts {
			if b, err := part.MarshalJSON(); err == nil {
				s.enum = append(s.enum, string(b))
			}
		}
		return s
	}
	if elem := v.LookupPath(cue.MakePath(cue.AnyIndex)); elem.Exists() {
		s.list, s.elem = true, readShape(elem)
		s.elem.file, s.elem.named = s.file, s.named
		return s
	}
	it, err := v.Fields(cue.Optional(true))
	if err != nil {
		return s
	}
	for it.Next() {
		if s.fields == nil {
			s.fields = map[string]*shape{}
		}
		field := readShape(it.Value())
		field.needed = it.FieldType()&cue.RequiredConstraint != 0
		s.fields[it.Selector().Unquoted()] = field
	}
	if s.fields["from"] != nil && s.fields["port"] != nil {
		edge := s.fields["base"] != nil
		delete(s.fields, "from")
		delete(s.fields, "port")
		if edge {
			return &shape{}
		}
	}
	if s.fields == nil {
		const name = "name"
		elem := cuecontext.New().CompileString("{name: _}").Unify(v).LookupPath(cue.ParsePath(name))
		if elem.Exists() && elem.IncompleteKind() != cue.TopKind && (elem.Err() == nil || !strings.Contains(elem.Err().Error(), "not allowed")) {
			s.elem = readShape(elem)
		}
	}
	return s
}

// leaves are the paths of what has no field itself.
func (s *shape) leaves(path string, into map[string]bool) {
	switch {
	case s.list:
		s.elem.leaves(path+"[]", into)
	case s.elem != nil:
		s.elem.leaves(path+"{}", into)
	case len(s.fields) == 0:
		into[path] = true
	}
	for name, field := range s.fields {
		field.leaves(path+"."+name, into)
	}
}

// place is where a field is: its path in its kind, and its names in a configuration.
type place struct {
	path   string
	within []string
}

func (p place) field(name string) place {
	return place{strings.TrimPrefix(p.path+"."+name, "."), append(slices.Clip(p.within), name)}
}

// mutator writes the mutations of one stage.
type mutator struct {
	src   string // up to the end of the stage
	start int
	base  *mutation
	list  []*mutation
	seen  map[string]bool // so that what stands in several stages, or twice in one, is done once
}

// put replaces a node of the stage.
func (w *mutator) put(at place, n ast.Node, what, value string) {
	from, to := n.Pos().Offset(), n.End().Offset()
	x := &mutation{kind: w.base.kind, path: at.path, within: at.within, what: what, base: w.base, was: w.src[from:to], before: w.src[w.start:from], after: w.src[to:]}
	if value == "" { // and the comma after it
		x.after = strings.TrimPrefix(strings.TrimLeft(x.after, " "), ",")
	}
	x.text = x.before + value + x.after
	if value == "" {
		x.after = ", " + x.after
	}
	_, free := x.unkeyed()
	if once := fmt.Sprint(x.kind, x.path, what, free, strings.Fields(x.was)); !w.seen[once] {
		w.seen[once] = true
		w.list = append(w.list, x)
	}
}

func (w *mutator) fields(at place, in *ast.StructLit, s *shape) {
	for _, d := range in.Elts {
		f := d.(*ast.Field)
		name, _, _ := ast.LabelName(f.Label)
		if name == "kind" && len(in.Elts) > 1 {
			continue // what stands beside it is its own
		}
		below, child := at.field(name), (*shape)(nil)
		switch {
		case s == nil: // free-form
			below.path = at.path
		case s.elem != nil:
			below.path, child = at.path+"{}", s.elem
			if _, free := unkeyed[at.path]; !free {
				w.put(below, f.Label, "under another name", name+"1")
			}
		case s.fields != nil:
			if child = s.fields[name]; child == nil {
				below.path = at.path
			}
		default:
			below.path = at.path
		}
		only := len(in.Elts) == 1 && s != nil && s.elem != nil
		switch {
		case only, child != nil && child.needed, choice.MatchString(below.path):
		case in.Lbrace.IsValid() || len(in.Elts) > 1:
			w.put(below, f, removed, "")
		default:
			w.put(below, f, removed, "{}")
		}
		if other := swapped[below.path]; other != "" {
			w.put(below, f, "swapped for "+other, other)
		}
		w.value(below, f.Value, child)
	}
}

func (w *mutator) value(at place, e ast.Expr, s *shape) {
	put := func(value string) { w.put(at, e, "changed to "+value, value) }
	switch e := e.(type) {
	case *ast.StructLit:
		w.fields(at, e, s)
	case *ast.ListLit:
		for i, elem := range e.Elts {
			below, child := place{at.path + "[]", append(slices.Clip(at.within), strconv.Itoa(i))}, (*shape)(nil)
			if s == nil || s.elem == nil {
				below.path = at.path
			} else {
				child = s.elem
			}
			if len(e.Elts) > 1 {
				w.put(below, elem, "taken out", "")
			}
			w.value(below, elem, child)
		}
	case *ast.SelectorExpr:
		text := w.src[e.Pos().Offset():e.End().Offset()]
		if name := plainStage.FindStringSubmatch(text); name != nil {
			w.put(at, e, renamed, `stages["`+name[1]+`.same"].out.`+name[2])
			put(`stages["` + name[1] + `.other"].out.` + name[2])
		}
	case *ast.BasicLit:
		text := e.Value
		switch {
		case text == "true" || text == "false":
			put(map[string]string{"true": "false", "false": "true"}[text])
		case s != nil && s.file:
			path := strings.Trim(text, `"`)
			if !s.named {
				w.put(at, e, renamed, strconv.Quote("same/"+path))
			}
			put(strconv.Quote("other/" + path))
		case s != nil && len(s.enum) > 0 && slices.Contains(s.enum, text):
			put(s.enum[(slices.Index(s.enum, text)+1)%len(s.enum)])
		case strings.HasPrefix(text, `"`):
			if day, ok := strings.CutSuffix(text, `-01"`); ok { // of a date
				put(day + `-02"`)
			} else if s == nil || !s.constant {
				put(strings.TrimSuffix(text, `"`) + `1"`)
			}
		default:
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				panic(text)
			}
			if f == float64(int64(f)) {
				put(strconv.FormatInt(int64(f)+1, 10))
			} else {
				put(strconv.FormatFloat(f/2, 'g', -1, 64))
			}
		}
	default:
		panic(fmt.Sprintf("%s: a %T", at.path, e))
	}
}

var plainStage = regexp.MustCompile(`^stages\.([a-z]+)\.out\.([a-z]+)$`)
