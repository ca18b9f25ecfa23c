package pipelines

import (
	"path/filepath"
	"regexp"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// pos is where the user wrote a value: of the places that it was put together from, the first in the pipeline's own
// folder, else the first that is not the schemas'. Value.Pos alone may point into the schemas.
func (p *Pipeline) pos(v cue.Value) token.Pos {
	var best token.Pos
	op, parts := v.Expr()
	if op != cue.AndOp {
		parts = []cue.Value{v}
	}
	for _, part := range parts {
		src := part.Source()
		if src == nil {
			continue
		}
		if _, isFile := src.(*ast.File); isFile {
			continue
		}
		best = p.better(best, src.Pos())
	}
	return best
}

// place is pos as a user reads it.
func (p *Pipeline) place(v cue.Value) token.Position { return p.shown(p.pos(v)) }

// shown is a position as a user reads it: relative to the working folder where the file lies below it.
func (p *Pipeline) shown(pos token.Pos) token.Position {
	if !pos.IsValid() {
		return token.Position{}
	}
	at := pos.Position()
	name, known := p.names[at.Filename]
	if !known {
		name = shownPath(at.Filename)
		if p.names == nil { // of files that were not loaded
			p.names = map[string]string{}
		}
		p.names[at.Filename] = name
	}
	at.Filename = name
	return at
}

// better prefers a place in the pipeline's own folder, then any that is the user's.
func (p *Pipeline) better(best, pos token.Pos) token.Pos {
	if !pos.IsValid() || pos.Filename() == "" || p.overlay.owns(pos.Filename()) {
		return best
	}
	if !best.IsValid() || filepath.Dir(best.Filename()) != p.Dir && filepath.Dir(pos.Filename()) == p.Dir {
		return pos
	}
	return best
}

// userPos is where in the user's files an error of CUE's lies.
func (p *Pipeline) userPos(e errors.Error) token.Pos {
	best := p.better(token.NoPos, e.Position())
	for _, pos := range e.InputPositions() {
		best = p.better(best, pos)
	}
	return best
}

// start is the beginning of the pipeline's first file, for what is missing from all of them.
func (p *Pipeline) start() token.Position {
	if len(p.Files) == 0 {
		return token.Position{Filename: shownPath(p.Dir)}
	}
	return position(p.Files[0], 1, 1)
}

var placed = regexp.MustCompile(`^\S+:\d+:\d+: `)

// cueErrors turns errors of CUE's into ours, each with a place in the user's files where it has one.
func (p *Pipeline) cueErrors(err error) error {
	var all Errors
	for _, e := range errors.Errors(err) {
		format, args := e.Msg()
		told := Error{Pos: p.shown(p.userPos(e)), Path: joinPath(e.Path()), Msg: oneLine(format, args)}
		if cause := errors.Unwrap(e); cause != nil { // a package that cannot be loaded: the path is the package's
			told.Path, told.Msg = "", oneLine("%s: %s", []any{told.Msg, placed.ReplaceAllString(cause.Error(), "")})
		}
		if !told.Pos.IsValid() {
			told.Pos = p.start()
		}
		all = append(all, told)
	}
	return all.sorted()
}
