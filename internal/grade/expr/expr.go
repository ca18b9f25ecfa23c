// Package expr is the CEL expressions that score completions.
//
//	Expression  a compiled expression over completion, prompt and row, whose value is a number or a bool
//
// It is a package of its own so that hone can check an expression without linking the other graders, whose libraries would
// make it slower to start.
package expr

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/hone-ml/hone/internal/ordjson"
)

const (
	costLimit = 1_000_000        // CEL's units, about one an operation or ten bytes of text: the same for every run
	timeLimit = 10 * time.Second // for what no unit counts
)

// Expression is safe for concurrent use.
type Expression struct{ program cel.Program }

// Compile checks an expression. An error begins with its line and column in the text where it has one.
func Compile(text string) (*Expression, error) {
	env, err := cel.NewEnv(
		cel.Variable("completion", cel.StringType),
		cel.Variable("prompt", cel.DynType), // text, or messages
		cel.Variable("row", cel.MapType(cel.StringType, cel.DynType)),
		cel.OptionalTypes(),
		ext.Strings(), ext.Math(), ext.Lists(), ext.Sets(), ext.Bindings(),
	)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		var all []string
		for _, e := range issues.Errors() {
			all = append(all, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
		}
		return nil, errors.New(strings.Join(all, "; "))
	}
	switch t := ast.OutputType(); t.Kind() {
	case types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.DynKind:
	default:
		return nil, fmt.Errorf("its value is %s, neither a number nor a bool", t)
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.InterruptCheckFrequency(1000), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return &Expression{program}, nil
}

// Eval is the expression's value for a completion: true is 1, false 0. What the expression cannot be evaluated for (a column
// that is not there, text that is no number, a cost or a time beyond its limit) is an error.
func (e *Expression) Eval(ctx context.Context, completion string, prompt ordjson.Value, row *ordjson.Object) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	p, err := native(prompt)
	if err != nil {
		return 0, fmt.Errorf("prompt: %w", err)
	}
	r, err := native(row)
	if err != nil {
		return 0, fmt.Errorf("row: %w", err)
	}
	v, _, err := e.program.ContextEval(ctx, map[string]any{"completion": completion, "prompt": p, "row": r})
	if err != nil {
		return 0, err
	}
	var x float64
	switch v := v.Value().(type) {
	case bool:
		if v {
			x = 1
		}
	case int64:
		x = float64(v)
	case uint64:
		x = float64(v)
	case float64:
		x = v
	default:
		return 0, fmt.Errorf("its value is a %T, neither a number nor a bool", v)
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("its value is %g", x)
	}
	return x, nil
}

// native is a value as CEL takes it: integers are int where they fit, other numbers double.
func native(v ordjson.Value) (any, error) {
	switch v := v.(type) {
	case ordjson.Number:
		if i, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return i, nil
		}
		return v.Float64()
	case []ordjson.Value:
		list := make([]any, len(v))
		for i, e := range v {
			var err error
			if list[i], err = native(e); err != nil {
				return nil, err
			}
		}
		return list, nil
	case *ordjson.Object:
		m := make(map[string]any, v.Len())
		for _, member := range v.Members() {
			e, err := native(member.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", member.Key, err)
			}
			m[member.Key] = e
		}
		return m, nil
	}
	return v, nil
}
