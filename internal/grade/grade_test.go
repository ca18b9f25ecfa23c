package grade

import (
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
)

func row(t *testing.T, s string) dataset.Row {
	t.Helper()
	v, err := ordjson.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return v.(dataset.Row)
}

func TestNumber(t *testing.T) {
	for _, test := range []struct {
		completion, answer string
		right              bool
	}{
		{"The answer is 42.", "42", true},
		{"The answer is 42", "43", false},
		{"6 × 7 = 42, so there are 42 apples", "42", true},
		{"2 + 2 = 4", "#### 4", true},
		{"1,234 apples", "1234", true},
		{"12,345,678", "12345678", true},
		{"the pair is 1,2", "2", true},
		{"-3", "-3", true},
		{"x = −3", "-3", true},
		{"10-3", "3", true},
		{"10 - 3", "3", true},
		{"it is -3", "3", false},
		{"step-3", "3", true},
		{"the answer - 3 - is clear", "3", true},
		{"x = - 3", "-3", true},
		{"-$3.50", "-3.5", true},
		{"0.5", "1/2", true},
		{".5", "0.5", true},
		{`\boxed{\frac{1}{2}} and 7 more`, "0.5", true},
		{`\boxed{-\dfrac{1}{2}}`, "-0.5", true},
		{`\boxed{\text{about } 12{,}000}`, "12000", true},
		{`first \boxed{3}, no, \boxed{\sqrt{{4}} = 2}`, "2", true},
		{`\boxed{5} apples of 9`, "5", true},
		{`\boxed{5`, "5", true},
		{`so 7 is \boxed {x}`, "7", false},
		{"3e2", "300", true},
		{"6.02e23", "6.02E+23", true},
		{"0.333333", "1/3", true},
		{"0.33", "1/3", false},
		{"50%", "50", true},
		{"72.00", "72", true},
		{"1234567", "1234568", false},
		{"12345678901234567890", "12345678901234567891", false},
		{"007", "7", true},
		{"no figure", "0", false},
		{"", "1", false},
		{"-0", "0", true},
		{"1/0 = 1", "1", true},
	} {
		g, err := New(schemas.Grader{Number: &struct {
			Column string `json:"column,omitempty"`
		}{}}, &dataset.Header{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.Score(test.completion, ordjson.New(ordjson.Member{Key: "answer", Value: test.answer}))
		if err != nil || got != truth(test.right) {
			t.Errorf("%q against %q: score %v, error %v, want %v", test.completion, test.answer, got, err, test.right)
		}
	}
}

type named = struct {
	Column string `json:"column,omitempty"`
}

func TestGraders(t *testing.T) {
	regex := schemas.Grader{Regex: &struct {
		Pattern string `json:"pattern"`
	}{`^yes`}}
	messages := &dataset.Header{Format: dataset.Messages, Columns: map[string]string{"messages": "messages"}}
	mapped := &dataset.Header{Format: dataset.Prompt, Columns: map[string]string{"prompt": "q", "answer": "a"}}
	pairs := &dataset.Header{Format: dataset.PromptCompletion, Columns: map[string]string{"prompt": "prompt", "completion": "completion"}}
	talk := `{"messages":[{"role":"user","content":"?"},{"role":"assistant","content":"Paris"}]}`
	for _, test := range []struct {
		name       string
		grader     schemas.Grader
		header     *dataset.Header
		completion string
		row        string
		want       float64
		err        string
	}{
		{"exact", schemas.Grader{Exact: &named{}}, mapped, " Paris\n", `{"a":"Paris "}`, 1, ""},
		{"exact is case-sensitive", schemas.Grader{Exact: &named{}}, mapped, "paris", `{"a":"Paris"}`, 0, ""},
		{"a number as answer", schemas.Grader{Exact: &named{}}, mapped, "7", `{"a":7}`, 1, ""},
		{"another column", schemas.Grader{Exact: &named{"gold"}}, mapped, "7", `{"a":8,"gold":"7"}`, 1, ""},
		{"contains", schemas.Grader{Contains: &named{}}, messages, "It is Paris.", `{"answer":"Paris"}`, 1, ""},
		{"the last assistant turn", schemas.Grader{Contains: &named{}}, messages, "It is Paris.", talk, 1, ""},
		{"answer before the last turn", schemas.Grader{Exact: &named{}}, messages, "Rome", strings.Replace(talk, "{", `{"answer":"Rome",`, 1), 1, ""},
		{"the row's completion", schemas.Grader{Exact: &named{}}, pairs, "4", `{"prompt":"2+2","completion":"4"}`, 1, ""},
		{"regex", regex, messages, "\n yes, it is", `{}`, 1, ""},
		{"regex does not match", regex, messages, "oh yes", `{}`, 0, ""},
		{"no answer", schemas.Grader{Exact: &named{}}, messages, "x", `{"messages":[{"role":"user","content":"?"}]}`, 0, "last assistant turn"},
		{"no column", schemas.Grader{Exact: &named{"gold"}}, messages, "x", talk, 0, "no column gold"},
		{"null", schemas.Grader{Exact: &named{}}, mapped, "x", `{"a":null}`, 0, "column a is null"},
		{"a list", schemas.Grader{Exact: &named{}}, mapped, "x", `{"a":["x"]}`, 0, "neither text nor a number"},
		{"no number", schemas.Grader{Number: &named{}}, mapped, "1", `{"a":"one"}`, 0, "no number in the answer"},
		{"contains nothing", schemas.Grader{Contains: &named{}}, mapped, "x", `{"a":" "}`, 0, "the answer is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := New(test.grader, test.header)
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Score(test.completion, row(t, test.row))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("score %v, error %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, g := range []schemas.Grader{{}, {Exact: &named{}, Number: &named{}}, {Regex: &struct {
		Pattern string `json:"pattern"`
	}{"("}}} {
		if _, err := New(g, &dataset.Header{}); err == nil {
			t.Errorf("%+v was taken", g)
		}
	}
}

// Completions are a model's: anything.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{`\boxed{\frac{1}{2}}`, "1,234.5e6/7", `\boxed{{{`, "-−-3", `\boxed{\}`, "1e999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := findNumber(s); ok && !equal(n, n) {
			t.Errorf("%q: %+v differs from itself", s, n)
		}
	})
}
