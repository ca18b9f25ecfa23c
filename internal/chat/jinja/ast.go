package jinja

// Statements of a template. exec (run.go) prints to the run's output and says how control leaves.
type stmt interface {
	exec(r *run, s *scope) flow
}

type (
	textStmt  struct{ text string }
	printStmt struct {
		line int
		expr expr
	}
	ifStmt struct {
		line   int
		test   expr
		body   []stmt
		orElse []stmt // an elif is an ifStmt alone in here
	}
	forStmt struct {
		line      int
		target    target
		iter      expr
		filter    expr // nil for all items
		recursive bool
		body      []stmt
		orElse    []stmt
	}
	setStmt struct {
		line   int
		target target
		value  expr
	}
	setBlockStmt struct { // {% set x %} … {% endset %}, with a filter or without
		line   int
		target target
		filter *filterExpr
		body   []stmt
	}
	withStmt struct {
		line    int
		targets []target
		values  []expr
		body    []stmt
	}
	macroStmt struct {
		line int
		def  *macroDef
	}
	callStmt struct { // {% call(args) f() %} … {% endcall %}
		line int
		def  *macroDef
		call *callExpr
	}
	filterStmt struct {
		line   int
		filter *filterExpr
		body   []stmt
	}
	generationStmt struct{ body []stmt }
	scopeStmt      struct{ body []stmt }
	blockStmt      struct {
		line     int
		name     string
		scoped   bool
		required bool
		body     []stmt
	}
	flowStmt  struct{ flow flow } // break and continue
	raiseStmt struct {            // include, import, extends: there is nothing to load from
		line    int
		message string
	}
)

// macroDef is the definition of a macro or of a call block's body.
type macroDef struct {
	name     string
	params   []string
	defaults []expr // of the last params
	body     []stmt
	// whether the body reads these, which decides what calls may pass
	caller, varargs, kwargs bool
}

// target is what set, for and with assign to.
type target interface {
	assign(r *run, s *scope, v Value)
}

type (
	nameTarget  string
	attrTarget  struct{ namespace, attr string }
	tupleTarget []target
)

// expr is an expression.
type expr interface {
	eval(r *run, s *scope) Value
}

type (
	constExpr struct{ value Value }
	nameExpr  struct{ name string }
	listExpr  struct{ items []expr }
	tupleExpr struct{ items []expr }
	dictExpr  struct{ keys, values []expr }
	attrExpr  struct {
		of   expr
		name string
	}
	itemExpr struct{ of, key expr }
	sliceKey struct{ start, stop, step expr } // the key of an itemExpr; any part may be nil
	callExpr struct {
		line int
		fn   expr
		args callArgs
	}
	filterExpr struct {
		line int
		of   expr // nil in {% filter %} and {% set x | f %}
		name string
		args callArgs
	}
	testExpr struct {
		line int
		of   expr
		name string
		args callArgs
	}
	notExpr struct{ of expr }
	negExpr struct {
		op string // - or +
		of expr
	}
	andExpr    struct{ left, right expr }
	orExpr     struct{ left, right expr }
	binaryExpr struct {
		op          string
		left, right expr
	}
	concatExpr  struct{ parts []expr }
	compareExpr struct {
		first expr
		ops   []string // ==, !=, <, <=, >, >=, in, not in
		rest  []expr
	}
	condExpr struct{ test, then, orElse expr } // orElse nil: undefined
)

// callArgs is what stands in a call's parentheses.
type callArgs struct {
	args    []expr
	names   []string // of keywords
	values  []expr
	star    expr // *args
	starred expr // **kwargs
}
