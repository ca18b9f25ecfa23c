package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// tupleRules say where a tuple without parentheses ends.
type tupleRules struct {
	condition bool   // conditional expressions are read
	parens    bool   // inside parentheses: may be empty
	end       string // a name that ends it
}

func (p *parser) tupleEnd(end string) bool {
	return p.is(tokenVarEnd) || p.is(tokenBlockEnd) || p.is(")") || end != "" && p.isName(end)
}

func (p *parser) tuple(rules tupleRules) expr {
	var items []expr
	isTuple := false
	for {
		if len(items) > 0 {
			p.expect(",")
		}
		if p.tupleEnd(rules.end) {
			break
		}
		if rules.condition {
			items = append(items, p.expression())
		} else {
			items = append(items, p.or())
		}
		if !p.is(",") {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) > 0 {
			return items[0]
		}
		if !rules.parens {
			p.fail("Expected an expression, got '%s'", describe(p.cur()))
		}
	}
	return &tupleExpr{items}
}

// expression reads a if b else c and all that binds tighter.
func (p *parser) expression() expr {
	defer p.nest()()
	unknown := len(p.unknown)
	e := p.or()
	for p.skipName("if") {
		c := &condExpr{test: p.or(), then: e}
		if p.skipName("else") {
			c.orElse = p.expression()
		}
		p.unknown = p.unknown[:unknown] // unknown filters in a condition raise when they are met
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for p.skipName("or") {
		e = &orExpr{e, p.and()}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.skipName("and") {
		e = &andExpr{e, p.not()}
	}
	return e
}

func (p *parser) not() expr {
	if p.skipName("not") {
		defer p.nest()()
		return &notExpr{p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	first := p.sum()
	c := &compareExpr{first: first}
	for {
		op := p.cur().kind
		switch {
		case slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, op):
			p.next()
		case p.isName("in"):
			p.next()
			op = "in"
		case p.isName("not") && p.look().kind == tokenName && p.look().text == "in":
			p.next()
			p.next()
			op = "not in"
		default:
			if len(c.ops) == 0 {
				return first
			}
			return c
		}
		c.ops = append(c.ops, op)
		c.rest = append(c.rest, p.sum())
	}
}

func (p *parser) sum() expr {
	e := p.concat()
	for p.is("+") || p.is("-") {
		op := p.next().kind
		e = &binaryExpr{op, e, p.concat()}
	}
	return e
}

func (p *parser) concat() expr {
	parts := []expr{p.product()}
	for p.skip("~") {
		parts = append(parts, p.product())
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return &concatExpr{parts}
}

func (p *parser) product() expr {
	e := p.power()
	for p.is("*") || p.is("/") || p.is("//") || p.is("%") {
		op := p.next().kind
		e = &binaryExpr{op, e, p.power()}
	}
	return e
}

func (p *parser) power() expr {
	e := p.unary(true)
	for p.skip("**") {
		e = &binaryExpr{"**", e, p.unary(true)}
	}
	return e
}

func (p *parser) unary(filters bool) expr {
	defer p.nest()()
	var e expr
	if p.is("-") || p.is("+") {
		op := p.next().kind
		e = &negExpr{op, p.unary(false)}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	if filters {
		e = p.filtered(e)
	}
	return e
}

func (p *parser) primary() expr {
	switch t := p.cur(); t.kind {
	case tokenName:
		p.next()
		switch t.text {
		case "true", "True":
			return &constExpr{true}
		case "false", "False":
			return &constExpr{false}
		case "none", "None":
			return &constExpr{nil}
		}
		p.used(t.text)
		return &nameExpr{t.text}
	case tokenString:
		var b strings.Builder
		for p.is(tokenString) {
			b.WriteString(p.next().text)
		}
		return &constExpr{b.String()}
	case tokenNumber:
		return &constExpr{p.next().value}
	case "(":
		p.next()
		e := p.tuple(tupleRules{condition: true, parens: true})
		p.expect(")")
		return e
	case "[":
		p.next()
		return &listExpr{p.list("]", p.expression)}
	case "{":
		p.next()
		d := &dictExpr{}
		d.keys = p.list("}", func() expr {
			key := p.expression()
			p.expect(":")
			d.values = append(d.values, p.expression())
			return key
		})
		return d
	}
	p.fail("unexpected '%s'", describe(p.cur()))
	return nil
}

// used notes that the macros around read one of the names that a call fills.
func (p *parser) used(name string) {
	for _, m := range p.macros {
		switch name {
		case "caller":
			m.caller = true
		case "varargs":
			m.varargs = true
		case "kwargs":
			m.kwargs = true
		}
	}
}

// list reads items up to end, a trailing comma allowed.
func (p *parser) list(end string, item func() expr) []expr {
	var items []expr
	for !p.is(end) {
		if len(items) > 0 {
			p.expect(",")
			if p.is(end) {
				break
			}
		}
		items = append(items, item())
	}
	p.expect(end)
	return items
}

func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.is(".") || p.is("["):
			e = p.subscript(e)
		case p.is("("):
			e = &callExpr{p.cur().line, e, p.callArgs()}
		default:
			return e
		}
	}
}

func (p *parser) filtered(e expr) expr {
	for {
		switch {
		case p.is("|"):
			e = p.filter(e, false)
		case p.isName("is"):
			e = p.test(e)
		case p.is("("):
			e = &callExpr{p.cur().line, e, p.callArgs()}
		default:
			return e
		}
	}
}

func (p *parser) subscript(e expr) expr {
	if p.next().kind == "." {
		t := p.next()
		if t.kind == tokenName {
			return &attrExpr{e, t.text}
		}
		if i, ok := t.value.(int64); ok {
			return &itemExpr{e, &constExpr{i}}
		}
		p.fail("expected name or number")
	}
	var keys []expr
	for !p.is("]") {
		if len(keys) > 0 {
			p.expect(",")
		}
		keys = append(keys, p.key())
	}
	p.expect("]")
	if len(keys) == 1 {
		return &itemExpr{e, keys[0]}
	}
	return &itemExpr{e, &tupleExpr{keys}}
}

// key reads an index or a slice.
func (p *parser) key() expr {
	part := func() expr {
		if p.is(":") || p.is("]") || p.is(",") {
			return nil
		}
		return p.expression()
	}
	start := part()
	if !p.skip(":") {
		if start == nil {
			p.fail("unexpected '%s'", describe(p.cur()))
		}
		return start
	}
	s := &sliceKey{start: start, stop: part()}
	if p.skip(":") {
		s.step = part()
	}
	return s
}

func (p *parser) callArgs() callArgs {
	var a callArgs
	ok := func(valid bool) {
		if !valid {
			p.fail("invalid syntax for function call expression")
		}
	}
	p.expect("(")
	for first := true; !p.is(")"); first = false {
		if !first {
			p.expect(",")
			if p.is(")") {
				break
			}
		}
		switch {
		case p.is("*"):
			ok(a.star == nil && a.starred == nil)
			p.next()
			a.star = p.expression()
		case p.is("**"):
			ok(a.starred == nil)
			p.next()
			a.starred = p.expression()
		case p.is(tokenName) && p.look().kind == "=":
			ok(a.starred == nil)
			name := p.next().text
			p.next()
			if slices.Contains(a.names, name) {
				p.fail("keyword argument repeated: %s", name)
			}
			a.names = append(a.names, name)
			a.values = append(a.values, p.expression())
		default:
			ok(a.star == nil && a.starred == nil && len(a.names) == 0)
			a.args = append(a.args, p.expression())
		}
	}
	p.expect(")")
	return a
}

// filter reads | name(args), repeated; inline is the first filter of {% filter %}, which has no bar.
func (p *parser) filter(e expr, inline bool) expr {
	for p.is("|") || inline {
		if !inline {
			p.next()
		}
		inline = false
		f := &filterExpr{line: p.cur().line, of: e, name: p.dottedName()}
		if p.is("(") {
			f.args = p.callArgs()
		}
		p.known(filters[f.name] != nil, "No filter named '%s'.", f.name)
		e = f
	}
	return e
}

func (p *parser) test(e expr) expr {
	p.next()
	negated := p.skipName("not")
	t := &testExpr{line: p.cur().line, of: e, name: p.dottedName()}
	switch k := p.cur().kind; {
	case k == "(":
		t.args = p.callArgs()
	case k == tokenName && !p.isName("else", "or", "and"), k == tokenString, k == tokenNumber, k == "[", k == "{":
		if p.isName("is") {
			p.fail("You cannot chain multiple tests with is")
		}
		t.args.args = []expr{p.postfix(p.primary())}
	}
	p.known(tests[t.name] != nil, "No test named '%s'.", t.name)
	if negated {
		return &notExpr{t}
	}
	return t
}

func (p *parser) known(ok bool, format string, args ...any) {
	if !ok && !p.soft {
		p.unknown = append(p.unknown, &Error{Line: p.cur().line, Message: fmt.Sprintf(format, args...), Syntax: true})
	}
}

func (p *parser) dottedName() string {
	name := p.expect(tokenName).text
	for p.skip(".") {
		name += "." + p.expect(tokenName).text
	}
	return name
}
