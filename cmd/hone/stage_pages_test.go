package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/parser"

	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/schemas/jsonschema"
)

const (
	pages = "../../docs/stages"
	notes = "../../schemas/docs" // what a page says beside what the schemas say
)

// docs/stages is made from the schemas and the notes on them; -update writes it.
func TestStagePages(t *testing.T) {
	want := map[string]string{"README.md": indexPage(t)}
	for _, kind := range schemas.Kinds() {
		want[kind+".md"] = kindPage(t, kind)
	}
	for _, file := range glob(t, notes+"/*.md") {
		name := filepath.Base(file)
		if want[name] == "" {
			_, title, _ := strings.Cut(topics[name], ": ")
			if title == "" {
				t.Errorf("%s is about no kind, and no topic", file)
			}
			want[name] = madeFrom("schemas/docs/"+name) + "# " + title + "\n\n" + noteOn(t, name)
		}
	}
	if *update {
		if err := os.RemoveAll(pages); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(pages, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(pages, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, text := range want {
		if got, err := os.ReadFile(filepath.Join(pages, name)); err != nil || string(got) != text {
			t.Errorf("docs/stages/%s is not what the schemas say (%v): go test ./cmd/hone -run TestStagePages -update", name, err)
		}
	}
	for _, file := range glob(t, pages+"/*") {
		if want[filepath.Base(file)] == "" {
			t.Errorf("%s is made from nothing", file)
		}
	}
}

// topics are the notes that are about no kind, as the index names them.
var topics = map[string]string{
	"graders.md": "what scores a completion, in `eval`, `curate.reject` and `train.grpo`: Graders",
	"dataset.md": "how rows are kept between stages: The dataset artifact",
}

// A note names fields that are there.
func TestNotesNameFields(t *testing.T) {
	for _, kind := range schemas.Kinds() {
		_, fields, err := listKind(kind)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, f := range fields {
			known[f.path] = true
		}
		for _, cell := range firstCells(noteOn(t, kind+".md")) {
			group := ""
			for _, code := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cell, -1) {
				name, _, _ := strings.Cut(code[1], ":")
				if below, _, ok := strings.Cut(name, "."); ok {
					group = below + "."
				}
				if !known[name] && !known[group+name] {
					t.Errorf("schemas/docs/%s.md: %s has no field %s", kind, kind, name)
				}
			}
		}
	}
}

// firstCells is the first column of each table whose head begins with the word field.
func firstCells(text string) (cells []string) {
	in := false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "| field |"):
			in = true
		case !strings.HasPrefix(line, "|"):
			in = false
		case in && !strings.HasPrefix(line, "|-"):
			cells = append(cells, strings.Split(line, "|")[1])
		}
	}
	return cells
}

// Links between pages, and from elsewhere to them, lead somewhere.
func TestLinksOfPages(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/stages/*.md", "examples/*.md", "examples/*/*.md"} {
		files = append(files, glob(t, "../../"+pattern)...)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)\s]*)?\)`)
	found := 0
	for _, file := range files {
		for _, m := range link.FindAllStringSubmatch(textOf(t, file), -1) {
			found++
			to := filepath.Join(filepath.Dir(file), m[1])
			info, err := os.Stat(to)
			if err != nil {
				t.Errorf("%s: the link to %s leads nowhere", file, m[1])
			} else if m[2] != "" && !info.IsDir() && !slices.Contains(anchors(textOf(t, to)), m[2]) {
				t.Errorf("%s: %s has no heading %s", file, m[1], m[2])
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links", found)
	}
}

// anchors are those that GitHub gives to headings.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, "#"+strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

func madeFrom(from string) string {
	return "<!-- Made from " + from + ": go test ./cmd/hone -run TestStagePages -update -->\n"
}

func noteOn(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(notes, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(b)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func indexPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(madeFrom("schemas/ and schemas/docs/"))
	b.WriteString("# Stage kinds\n\n| kind | |\n|---|---|\n")
	for _, kind := range schemas.Kinds() {
		doc, _, err := listKind(kind)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(strings.Join(strings.Fields(doc), " "), ". ")
		fmt.Fprintf(&b, "| [%s](%s.md) | %s |\n", kind, kind, inCell(strings.TrimSuffix(first, ".")))
	}
	b.WriteString("\nBeside them:")
	for i, name := range []string{"dataset.md", "graders.md"} {
		says, title, _ := strings.Cut(topics[name], ": ")
		fmt.Fprintf(&b, "%s [%s](%s), %s", []string{"", ";"}[i], strings.ToLower(title), name, says)
	}
	b.WriteString(".\n\n`hone schema KIND` prints the fields of a kind, `hone schema json KIND` the same for programs.\n\n## What every kind takes\n\n")
	_, fields, err := listKind(schemas.Kinds()[0])
	if err != nil {
		t.Fatal(err)
	}
	b.WriteString(fieldTable(t, "", fields, func(f listed) bool { return f.rank == commonField }))
	b.WriteString(`
## What is in a key

A field is in its stage's key as its value, with defaults filled, but for those that say that they are not. An edge and a file are in it by their
bytes, whatever stage, port or path they come from. How often, and how many rows at once, an ` + "`eval`" + ` of a training measures is in the key where
` + "`keepBest` or `earlyStopping`" + ` goes by it.
`)
	return b.String()
}

func kindPage(t *testing.T, kind string) string {
	t.Helper()
	doc, fields, err := listKind(kind)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	from := "schemas/" + strings.ReplaceAll(kind, ".", "_") + ".cue"
	if _, err := os.Stat("../../" + from); err != nil {
		t.Error(err)
	}
	text := noteOn(t, kind+".md")
	if text != "" {
		from += " and schemas/docs/" + kind + ".md"
	}
	b.WriteString(madeFrom(from))
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", kind, prose(kind+" "+doc))
	b.WriteString("| port | |\n|---|---|\n")
	for _, f := range fields {
		if f.edge && f.rank != commonField {
			fmt.Fprintf(&b, "| in: `%s` | %s |\n", f.path, inCell(strings.TrimPrefix(f.typ, "edge to ")))
		}
	}
	b.WriteString(outPorts(t, kind))
	b.WriteString("\n## Fields\n\n")
	b.WriteString(fieldTable(t, kind, fields, func(f listed) bool { return f.rank != commonField }))
	b.WriteString("\nBesides [what every kind takes](README.md#what-every-kind-takes): `description`, `needs` and `resources`.\n")
	if text != "" {
		if !strings.HasPrefix(text, "#") {
			b.WriteString("\n## Notes\n")
		}
		b.WriteString("\n" + text)
	}
	return b.String()
}

// outPorts are rows of the table of ports: what comes out, and what with lora where that makes a difference.
func outPorts(t *testing.T, kind string) string {
	v, err := jsonschema.Definitions(cuecontext.New())
	if err != nil {
		t.Fatal(err)
	}
	stage := v.LookupPath(cue.MakePath(cue.Def("#Stages"), cue.Str(kind)))
	ports := func(stage cue.Value) (names, kinds, docs []string) {
		all, err := stage.LookupPath(cue.ParsePath("out")).Fields()
		if err != nil {
			return nil, nil, nil // one that must not be empty
		}
		for all.Next() {
			k, _ := all.Value().LookupPath(cue.ParsePath("kind")).String()
			doc := strings.Join(strings.Fields(said(all.Value())), " ")
			if strings.HasPrefix(doc, "#") {
				doc = "" // of the port's type
			}
			names, kinds, docs = append(names, all.Selector().Unquoted()), append(kinds, k), append(docs, doc)
		}
		return names, kinds, docs
	}
	names, kinds, docs := ports(stage)
	if names == nil {
		return map[string]string{"exec": "| out: each of `out` | of the kind that it names |\n", "curate.split": "| out: each of `parts` | dataset |\n"}[kind]
	}
	var with []string
	if _, ok := schemas.ShapeOf(kind).Fields["lora"]; ok {
		_, with, _ = ports(stage.FillPath(cue.ParsePath("lora"), map[string]any{}))
	}
	var b strings.Builder
	for i, name := range names {
		is := kinds[i]
		if with != nil && with[i] != is {
			is += "; with `lora` an " + with[i]
		}
		if docs[i] != "" {
			is += ": " + docs[i]
		}
		fmt.Fprintf(&b, "| out: `%s` | %s |\n", name, inCell(is))
	}
	return b.String()
}

func fieldTable(t *testing.T, kind string, fields []listed, takes func(listed) bool) string {
	t.Helper()
	sources := defaultSources(t, kind)
	var b strings.Builder
	b.WriteString("| field | is | when left out | |\n|---|---|---|---|\n")
	for _, f := range fields {
		if !takes(f) {
			continue
		}
		is, filled := f.typ, ""
		if !strings.HasPrefix(is, "edge ") && is != "path" && is != "list of path" {
			is = "`" + is + "`"
		}
		if f.required {
			filled = "required"
		} else if f.filled != "" {
			filled = "`" + f.filled + "`"
		}
		if s := sourceOf(sources, f); s != "" {
			filled = strings.TrimPrefix(filled+"; "+s, "; ")
		}
		doc := f.doc
		if f.unkeyed && kind != "" {
			doc += " Not in the key."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.path, inCell(is), inCell(filled), inCell(doc))
	}
	if kind == "" {
		b.WriteString("\nNone of them is in the key.\n")
	}
	return b.String()
}

// inCell is text in a table of Markdown.
func inCell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// prose is a comment of the schemas as Markdown: what is indented is CUE.
func prose(text string) string {
	var b strings.Builder
	in := false
	for line := range strings.Lines(text) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && !in:
			b.WriteString("```cue\n")
		case !indented && in && strings.TrimSpace(line) != "":
			b.WriteString("```\n\n")
		}
		if strings.TrimSpace(line) != "" {
			in = indented
		} else if in {
			continue
		}
		if indented {
			b.WriteString(strings.ReplaceAll(code, "    ", "\t"))
		} else {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// defaultSources is where each default of a kind comes from, by its field: the remarks in schemas/defaults.cue.
func defaultSources(t *testing.T, kind string) map[string]string {
	t.Helper()
	file, err := parser.ParseFile("../../schemas/defaults.cue", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	definitions := map[string]ast.Expr{}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.Field); ok {
			definitions[labelOf(f)] = f.Value
		}
	}
	found := map[string]string{}
	var walk func(path string, e ast.Expr)
	decls := func(path string, all []ast.Decl) {
		for _, d := range all {
			switch d := d.(type) {
			case *ast.EmbedDecl:
				walk(path, d.Expr)
			case *ast.Comprehension:
				walk(path, d.Value)
			case *ast.Field:
				name := strings.TrimPrefix(labelOf(d), "_") // _beta2 is what beta2 is made of
				below := strings.TrimPrefix(path+"."+name, ".")
				if remark := remarkOn(d); remark != "" {
					if found[below] != "" && found[below] != remark {
						remark = found[below] + "; " + remark
					}
					found[below] = remark
				}
				walk(below, d.Value)
			}
		}
	}
	walk = func(path string, e ast.Expr) {
		switch e := e.(type) {
		case *ast.StructLit:
			decls(path, e.Elts)
		case *ast.Ident:
			walk(path, definitions[e.Name])
		case *ast.ListLit:
			for _, item := range e.Elts {
				if rest, ok := item.(*ast.Ellipsis); ok {
					walk(path+"[]", rest.Type)
				}
			}
		}
	}
	for _, d := range definitions["#Defaults"].(*ast.StructLit).Elts {
		if f, ok := d.(*ast.Field); ok && labelOf(f) == kind {
			walk("", f.Value)
		}
	}
	return found
}

// sourceOf is what defaults.cue remarks on a field, or on the line that it stands on.
func sourceOf(sources map[string]string, f listed) string {
	path := f.path
	for f.filled != "" && sources[path] == "" && strings.ContainsAny(path, ".[") {
		path = strings.TrimSuffix(path[:max(strings.LastIndexAny(path, ".["), 0)], "[")
	}
	if path == f.path && strings.ContainsAny(f.typ, "{[") || strings.HasPrefix(f.typ, "list") {
		return "" // of what is below it
	}
	return sources[path]
}

// labelOf is a field's name, NAME for what stands for any.
func labelOf(f *ast.Field) string {
	if name, _, err := ast.LabelName(f.Label); err == nil {
		return name
	}
	return "NAME"
}

// remarkOn is the comment behind a field, or behind the one field that its value is.
func remarkOn(f *ast.Field) string {
	for _, g := range append(ast.Comments(f), ast.Comments(f.Value)...) {
		if !g.Doc {
			return strings.TrimSpace(g.Text())
		}
	}
	return ""
}

// Every default that the schemas have is one that a page names, with where it comes from.
func TestDefaultsHaveSources(t *testing.T) {
	for _, kind := range schemas.Kinds() {
		_, fields, err := listKind(kind)
		if err != nil {
			t.Fatal(err)
		}
		sources := defaultSources(t, kind)
		for _, f := range fields {
			var value any
			if f.filled != "" && json.Unmarshal([]byte(f.filled), &value) != nil {
				t.Errorf("%s.%s: %s is no JSON", kind, f.path, f.filled)
			}
			if f.filled != "" && sourceOf(sources, f) == "" {
				t.Errorf("%s.%s: where does %s come from?", kind, f.path, f.filled)
			}
		}
	}
}
