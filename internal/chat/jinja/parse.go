package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// Template is a parsed source. It is safe for concurrent use.
type Template struct {
	body        []stmt
	generations bool
}

// HasGeneration reports whether the source marks what the assistant writes with {% generation %}.
func (t *Template) HasGeneration() bool { return t.generations }

// maxNesting bounds how deep statements and expressions may be nested.
const maxNesting = 400

// MaxSource bounds a source, in bytes: its operators nest as deep as it is long. The longest in use have 30 kB.
const MaxSource = 1 << 20

// Parse reads a template. Errors are *Error with Syntax set.
func Parse(source string) (t *Template, err error) {
	defer func() {
		if e := recover(); e != nil {
			t, err = nil, asError(e)
		}
	}()
	if len(source) > MaxSource {
		return nil, &Error{Message: fmt.Sprintf("source of %d bytes", len(source)), Syntax: true}
	}
	p := &parser{tokens: lex(source)}
	body := p.statements()
	if len(p.unknown) > 0 {
		return nil, p.unknown[0]
	}
	return &Template{body: body, generations: p.generations}, nil
}

func asError(e any) *Error {
	if err, ok := e.(*Error); ok {
		return err
	}
	panic(e)
}

type parser struct {
	tokens      []token
	pos         int
	depth       int
	loops       int         // enclosing for loops within the function that is being parsed
	soft        bool        // in an if: unknown filters and tests raise when they are met, not here
	macros      []*macroDef // enclosing definitions
	blocks      []string
	unknown     []*Error // filters and tests that do not exist, where that is an error of the source
	generations bool
}

func (p *parser) cur() token  { return p.tokens[p.pos] }
func (p *parser) look() token { return p.tokens[min(p.pos+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.cur()
	if p.pos < len(p.tokens)-1 {
		p.pos++
	}
	return t
}

func (p *parser) fail(format string, args ...any) {
	panic(&Error{Line: p.cur().line, Message: fmt.Sprintf(format, args...), Syntax: true})
}

func (p *parser) is(kind string) bool { return p.cur().kind == kind }

func (p *parser) isName(names ...string) bool {
	return p.is(tokenName) && slices.Contains(names, p.cur().text)
}

func (p *parser) skip(kind string) bool {
	if p.is(kind) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(kind string) token {
	if !p.is(kind) {
		p.fail("expected token '%s', got '%s'", kind, describe(p.cur()))
	}
	return p.next()
}

func (p *parser) expectName(name string) {
	if !p.skipName(name) {
		p.fail("expected token '%s', got '%s'", name, describe(p.cur()))
	}
}

func describe(t token) string {
	if t.kind == tokenName {
		return t.text
	}
	return t.kind
}

// nest guards against stack exhaustion; call its result when done.
func (p *parser) nest() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail("nested deeper than %d", maxNesting)
	}
	return func() { p.depth-- }
}

// statements reads to a block that begins with one of ends, which becomes the current token; to the end without any.
func (p *parser) statements(ends ...string) []stmt {
	defer p.nest()()
	var body []stmt
	for {
		switch t := p.cur(); t.kind {
		case tokenData:
			p.next()
			body = append(body, textStmt{t.text})
		case tokenVar:
			p.next()
			body = append(body, printStmt{t.line, p.tuple(tupleRules{condition: true})})
			p.expect(tokenVarEnd)
		case tokenBlock:
			p.next()
			if p.isName(ends...) {
				return body
			}
			body = append(body, p.statement())
			p.expect(tokenBlockEnd)
		default:
			if len(ends) > 0 {
				p.fail("Unexpected end of template. Jinja was looking for %s.", strings.Join(ends, " or "))
			}
			return body
		}
	}
}

// body reads what stands between this block's end and a block that begins with one of ends.
func (p *parser) body(ends ...string) []stmt {
	p.skip(":")
	p.expect(tokenBlockEnd)
	return p.statements(ends...)
}

// closed is body with its end tag taken.
func (p *parser) closed(end string) []stmt {
	b := p.body(end)
	p.next()
	return b
}

// hard is closed for a body with a scope of its own, in which unknown filters are errors of the source again.
func (p *parser) hard(end string) []stmt {
	defer func(soft bool) { p.soft = soft }(p.soft)
	p.soft = false
	return p.closed(end)
}

// function is hard for a body that becomes a function: loops around it cannot be left from inside.
func (p *parser) function(def *macroDef, end string) {
	defer func(loops int) { p.loops = loops }(p.loops)
	p.loops = 0
	p.macros = append(p.macros, def)
	def.body = p.hard(end)
	p.macros = p.macros[:len(p.macros)-1]
}

func (p *parser) statement() stmt {
	t := p.expect(tokenName)
	switch t.text {
	case "for":
		return p.forStmt(t.line)
	case "if":
		return p.ifStmt(t.line)
	case "set":
		return p.setStmt(t.line)
	case "with":
		return p.withStmt(t.line)
	case "macro":
		return p.macroStmt(t.line)
	case "call":
		return p.callStmt(t.line)
	case "filter":
		f := p.blockFilter(true)
		return filterStmt{t.line, f, p.hard("endfilter")}
	case "generation":
		p.generations = true
		def := &macroDef{}
		p.function(def, "endgeneration")
		return generationStmt{def.body}
	case "autoescape":
		p.expression()
		return scopeStmt{p.hard("endautoescape")}
	case "print":
		return p.printStmt(t.line)
	case "block":
		return p.blockStmt(t.line)
	case "break", "continue":
		if p.loops == 0 {
			p.fail("'%s' outside loop", t.text)
		}
		if t.text == "break" {
			return flowStmt{flowBreak}
		}
		return flowStmt{flowContinue}
	case "include", "extends", "import", "from":
		for !p.is(tokenBlockEnd) && !p.is(tokenEOF) {
			p.next()
		}
		return raiseStmt{t.line, "no loader for this environment specified"}
	}
	p.pos--
	p.fail("Encountered unknown tag '%s'.", t.text)
	return nil
}

func (p *parser) forStmt(line int) stmt {
	f := &forStmt{line: line, target: p.target(false, "in")}
	p.expectName("in")
	f.iter = p.tuple(tupleRules{end: "recursive"})
	soft := p.soft
	p.soft = false
	if p.skipName("if") {
		f.filter = p.expression()
	}
	f.recursive = p.skipName("recursive")
	p.loops++
	f.body = p.body("endfor", "else")
	p.loops--
	if p.next().text == "else" {
		f.orElse = p.closed("endfor")
	}
	p.soft = soft
	return f
}

func (p *parser) ifStmt(line int) stmt {
	defer func(soft bool) { p.soft = soft }(p.soft)
	p.soft = true
	first := &ifStmt{line: line}
	for s := first; ; {
		s.test = p.tuple(tupleRules{})
		s.body = p.body("elif", "else", "endif")
		switch t := p.next(); t.text {
		case "elif":
			elif := &ifStmt{line: t.line}
			s.orElse = []stmt{elif}
			s = elif
			continue
		case "else":
			s.orElse = p.closed("endif")
		}
		return first
	}
}

func (p *parser) setStmt(line int) stmt {
	t := p.target(true, "")
	if p.skip("=") {
		return setStmt{line, t, p.tuple(tupleRules{condition: true})}
	}
	s := setBlockStmt{line: line, target: t}
	if p.is("|") {
		s.filter = p.blockFilter(false)
	}
	s.body = p.hard("endset")
	return s
}

// blockFilter reads the filters that a captured body goes through.
func (p *parser) blockFilter(inline bool) *filterExpr {
	defer func(soft bool) { p.soft = soft }(p.soft)
	p.soft = false
	return p.filter(nil, inline).(*filterExpr)
}

func (p *parser) withStmt(line int) stmt {
	w := withStmt{line: line}
	for !p.is(tokenBlockEnd) {
		if len(w.targets) > 0 {
			p.expect(",")
		}
		w.targets = append(w.targets, p.target(false, ""))
		p.expect("=")
		w.values = append(w.values, p.expression())
	}
	w.body = p.hard("endwith")
	return w
}

func (p *parser) macroStmt(line int) stmt {
	def := &macroDef{name: p.nameOnly()}
	p.signature(def)
	p.function(def, "endmacro")
	return macroStmt{line, def}
}

func (p *parser) callStmt(line int) stmt {
	def := &macroDef{name: "caller"}
	if p.is("(") {
		p.signature(def)
	}
	call, ok := p.expression().(*callExpr)
	if !ok {
		p.fail("expected call")
	}
	p.function(def, "endcall")
	return callStmt{line, def, call}
}

func (p *parser) printStmt(line int) stmt {
	var parts []expr
	for !p.is(tokenBlockEnd) {
		if len(parts) > 0 {
			p.expect(",")
		}
		parts = append(parts, p.expression())
	}
	return printStmt{line, &concatExpr{parts}}
}

func (p *parser) blockStmt(line int) stmt {
	b := blockStmt{line: line, name: p.expect(tokenName).text}
	if slices.Contains(p.blocks, b.name) {
		p.fail("block '%s' defined twice", b.name)
	}
	p.blocks = append(p.blocks, b.name)
	b.scoped = p.skipName("scoped")
	b.required = p.skipName("required")
	def := &macroDef{}
	p.function(def, "endblock")
	p.skipName(b.name)
	b.body = def.body
	return b
}

// signature reads the parameters of a macro or call block.
func (p *parser) signature(def *macroDef) {
	p.expect("(")
	for !p.is(")") {
		if len(def.params) > 0 {
			p.expect(",")
		}
		name := p.nameOnly()
		if slices.Contains(def.params, name) {
			p.fail("duplicate argument '%s' in macro definition", name)
		}
		def.params = append(def.params, name)
		if p.skip("=") {
			p.macros = append(p.macros, def)
			def.defaults = append(def.defaults, p.expression())
			p.macros = p.macros[:len(p.macros)-1]
		} else if len(def.defaults) > 0 {
			p.fail("non-default argument follows default argument")
		}
	}
	p.expect(")")
}

// reserved names are constants and cannot be assigned to.
var reserved = []string{"true", "false", "none", "True", "False", "None"}

func (p *parser) nameOnly() string {
	t := p.expect(tokenName)
	if slices.Contains(reserved, t.text) {
		p.fail("can't assign to 'const'")
	}
	return t.text
}

// target reads a, (a, b), a, b or, where allowed, ns.a; end is a name that ends a tuple.
func (p *parser) target(attributes bool, end string) target {
	var parts []target
	isTuple := false
	for {
		if len(parts) > 0 {
			p.expect(",")
		}
		if p.tupleEnd(end) {
			break
		}
		parts = append(parts, p.targetPart(attributes))
		if !p.is(",") {
			break
		}
		isTuple = true
	}
	switch {
	case isTuple:
		return tupleTarget(parts)
	case len(parts) == 0:
		p.fail("Expected an expression, got '%s'", describe(p.cur()))
	}
	return parts[0]
}

func (p *parser) targetPart(attributes bool) target {
	defer p.nest()()
	if p.skip("(") {
		t := p.target(attributes, "")
		p.expect(")")
		return t
	}
	name := p.nameOnly()
	if attributes && p.skip(".") {
		return attrTarget{name, p.expect(tokenName).text}
	}
	return nameTarget(name)
}
