package runner

import (
	"fmt"
	"math"
	"testing"

	"github.com/hone-ml/hone/schemas"
)

func TestJudge(t *testing.T) {
	p := func(x float64) *float64 { return &x }
	for _, c := range []struct {
		name          string
		gate          schemas.Gate
		before, after float64
		want          string
	}{
		{"reaches the minimum", schemas.Gate{Minimum: p(0.5)}, 0, 0.5, "[]"},
		{"below the minimum", schemas.Gate{Minimum: p(0.5)}, 0, 0.4, "[s: 0.4 is below the minimum 0.5]"},
		{"drops as far as it may, but for rounding", schemas.Gate{MaxDrop: p(0.1)}, 0.8, 0.7, "[]"},
		{"drops too far", schemas.Gate{MaxDrop: p(0.1)}, 0.8, 0.6, "[s: 0.6 after 0.8: it dropped by 0.2, the gate allows 0.1]"},
		{"a negative drop demands a rise", schemas.Gate{MaxDrop: p(-0.1)}, 0.3, 0.4, "[]"},
		{"rises too little", schemas.Gate{MaxDrop: p(-0.1)}, 0.3, 0.35, "[s: 0.35 after 0.3: it rose by 0.05, the gate wants 0.1]"},
		{"perplexity above the maximum", schemas.Gate{Maximum: p(10)}, 0, 11, "[s: 11 is above the maximum 10]"},
		{"perplexity rises in proportion", schemas.Gate{MaxRise: p(0.1)}, 10, 11, "[]"},
		{"perplexity rises too far", schemas.Gate{MaxRise: p(0.1)}, 10, 12, "[s: 12 after 10: it rose by 20.0%, the gate allows 10.0%]"},
		{"does not rise at all", schemas.Gate{MaxDrop: p(-0.1)}, 0, 0, "[s: 0 after 0: it rose by 0, the gate wants 0.1]"},
		{"perplexity falls too little", schemas.Gate{MaxRise: p(-0.5)}, 10, 9, "[s: 9 after 10: it fell by 10.0%, the gate wants 50.0%]"},
		{"what is not a number holds no gate", schemas.Gate{Minimum: p(0)}, 0, math.NaN(), "[s: NaN is below the minimum 0]"},
	} {
		report := &Report{
			Suites:   map[string]Measure{"s": {Value: c.after}},
			Baseline: map[string]Measure{"s": {Value: c.before}},
		}
		if got := fmt.Sprint(Judge(map[string]schemas.Gate{"s": c.gate}, report)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	gate := map[string]schemas.Gate{"t": {Minimum: p(0)}, "s": {MaxDrop: p(0)}}
	got := fmt.Sprint(Judge(gate, &Report{Suites: map[string]Measure{"s": {Value: 1}}}))
	if want := "[s: the report has no baseline to compare with t: the report has no such suite]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
