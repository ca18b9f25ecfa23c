package pipelines

import (
	"fmt"
	"path/filepath"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// places is where the fields stand that the package's own files write out, by path: stages.tune.learningRate. What stands in several
// places, or comes by a reference, a pattern or a comprehension, is not in it: of that pos tells, which evaluates a value again.
func (p *Pipeline) places() map[string]token.Pos {
	at := map[string]token.Pos{}
	for _, f := range p.instance.Files {
		if filepath.Dir(f.Filename) == p.Dir {
			addWritten(at, "", f.Decls)
		}
	}
	return at
}

func addWritten(at map[string]token.Pos, around string, decls []ast.Decl) {
	for _, d := range decls {
		field, ok := d.(*ast.Field)
		if !ok || field.Constraint != token.ILLEGAL {
			continue
		}
		label, _, err := ast.LabelName(field.Label)
		if err != nil {
			continue
		}
		addValue(at, around+label, field.Pos(), field.Value)
	}
}

func addValue(at map[string]token.Pos, path string, pos token.Pos, value ast.Expr) {
	if _, twice := at[path]; twice {
		at[path] = token.NoPos
	} else {
		at[path] = pos
	}
	switch value := value.(type) {
	case *ast.StructLit:
		addWritten(at, path+".", value.Elts)
	case *ast.ListLit:
		for i, item := range value.Elts {
			if _, rest := item.(*ast.Ellipsis); rest {
				break
			}
			if _, many := item.(*ast.Comprehension); many { // how many is not known here
				break
			}
			addValue(at, fmt.Sprintf("%s[%d]", path, i), item.Pos(), item)
		}
	}
}

// place is where the user wrote a stage's field, or the stage where path is empty, whose value is v.
func (c *compiler) place(s *stage, path string, v cue.Value) token.Position {
	full := "stages." + s.name
	if path != "" {
		full += "." + path
	}
	pos := c.places[full]
	if !pos.IsValid() {
		pos = c.p.pos(v)
	}
	return c.p.shown(pos)
}
