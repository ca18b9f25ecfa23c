package pipelines

import (
	"io/fs"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

// wiring is the schemas' files as Load evaluates them. They are the published ones but for one line: #Pipeline embeds
// #Ports[kind] in a stage instead of #Stages[kind]. #Ports has the out ports alone, cut out of the kinds' definitions.
// With the full definitions a misspelt field makes its stage an error, and every edge out of that stage, and so hides
// what is wrong with the stages behind it; Compile applies #Stages to each stage by itself.
var wiring = sync.OnceValue(func() map[string]string {
	files := map[string]string{}
	ports := []ast.Decl{}
	names, err := fs.Glob(schemas.Files, "*.cue")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		b, err := schemas.Files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		files[name] = string(b)
		f, err := parser.ParseFile(name, b)
		if err != nil {
			panic(err)
		}
		for _, d := range f.Decls {
			if kind, port := portsOf(d); kind != "" {
				ports = append(ports, &ast.Field{Label: ast.NewString(kind), Value: port})
			}
		}
	}
	b, err := format.Node(&ast.File{Decls: []ast.Decl{
		&ast.Package{Name: ast.NewIdent("schemas")},
		&ast.Field{Label: ast.NewIdent("#Ports"), Value: &ast.StructLit{Elts: ports}},
	}})
	if err != nil {
		panic(err)
	}
	files["ports.cue"] = string(b)
	const full = "\t\t#Stages[S.kind]\n"
	if strings.Count(files["pipeline.cue"], full) != 1 {
		panic("schemas/pipeline.cue does not embed #Stages[S.kind] once")
	}
	files["pipeline.cue"] = strings.Replace(files["pipeline.cue"], full,
		"\t\tif #Ports[S.kind] != _|_ {#Ports[S.kind]}\n", 1)
	return files
})

// portsOf cuts the definition of a kind down to its out ports: T={lora?: _, …, out: {…}, ...}. The other fields stay,
// open, since ports depend on them. The kind is empty where d does not define one.
func portsOf(d ast.Decl) (kind string, ports ast.Expr) {
	f, ok := d.(*ast.Field)
	if !ok {
		return "", nil
	}
	value := f.Value
	alias, _ := value.(*ast.Alias)
	if alias != nil {
		value = alias.Expr
	}
	body, ok := value.(*ast.StructLit)
	if !ok {
		return "", nil
	}
	var elts []ast.Decl
	var out *ast.Field
	for _, e := range body.Elts {
		field, ok := e.(*ast.Field)
		if !ok {
			continue
		}
		switch name, _, _ := ast.LabelName(field.Label); name {
		case "kind":
			if lit, ok := field.Value.(*ast.BasicLit); ok {
				kind = strings.Trim(lit.Value, `"`)
			}
		case "out":
			out = &ast.Field{Label: ast.NewIdent(name), Value: field.Value}
		default:
			elts = append(elts, &ast.Field{Label: ast.NewIdent(name), Constraint: token.OPTION, Value: ast.NewIdent("_")})
		}
	}
	if kind == "" || out == nil {
		return "", nil
	}
	if kind == "exec" { // its ports are the user's own, to be judged like any field
		out.Value = &ast.StructLit{Elts: []ast.Decl{&ast.Ellipsis{}}}
	}
	ports = &ast.StructLit{Elts: append(elts, out, &ast.Ellipsis{})}
	if alias != nil {
		ports = &ast.Alias{Ident: ast.NewIdent(alias.Ident.Name), Expr: ports}
	}
	return kind, ports
}
