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
		g, err := New(schemas.Grader{Number: &schemas.Compare{}}, &dataset.Header{}, Env{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.Score(t.Context(), Completion{Text: test.completion, Row: ordjson.New(ordjson.Member{Key: "answer", Value: test.answer})})
		if err != nil || got != truth(test.right) {
			t.Errorf("%q against %q: score %v, error %v, want %v", test.completion, test.answer, got, err, test.right)
		}
	}
}

type named = schemas.Compare

func TestGraders(t *testing.T) {
	regex := schemas.Grader{Regex: &schemas.Pattern{Pattern: `^yes`}}
	cel := func(expression string) schemas.Grader {
		return schemas.Grader{CEL: &schemas.CEL{Expression: expression}}
	}
	call := schemas.Grader{JSONSchema: &schemas.JSONSchema{Schema: map[string]any{
		"type": "object", "required": []any{"name"}, "properties": map[string]any{"name": map[string]any{"enum": []any{"add", "sub"}}, "n": map[string]any{"type": "integer"}},
	}}}
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
		{"another column", schemas.Grader{Exact: &named{Column: "gold"}}, mapped, "7", `{"a":8,"gold":"7"}`, 1, ""},
		{"contains", schemas.Grader{Contains: &named{}}, messages, "It is Paris.", `{"answer":"Paris"}`, 1, ""},
		{"the last assistant turn", schemas.Grader{Contains: &named{}}, messages, "It is Paris.", talk, 1, ""},
		{"answer before the last turn", schemas.Grader{Exact: &named{}}, messages, "Rome", strings.Replace(talk, "{", `{"answer":"Rome",`, 1), 1, ""},
		{"the row's completion", schemas.Grader{Exact: &named{}}, pairs, "4", `{"prompt":"2+2","completion":"4"}`, 1, ""},
		{"regex", regex, messages, "\n yes, it is", `{}`, 1, ""},
		{"regex does not match", regex, messages, "oh yes", `{}`, 0, ""},
		{"JSON", call, messages, `{"name": "add", "n": 2.0}`, `{}`, 1, ""},
		{"JSON in a block", call, messages, "Sure:\n```json\n{\"name\": \"no\"}\n```\nor\n```\n{\"name\":\n \"sub\"}\n```\nDone.", `{}`, 1, ""},
		{"JSON that the schema refuses", call, messages, `{"name": "mul"}`, `{}`, 0, ""},
		{"no JSON", call, messages, `{"name": "add"`, `{}`, 0, ""},
		{"two values", call, messages, `{"name": "add"} {"name": "add"}`, `{}`, 0, ""},
		{"a key twice", call, messages, `{"name": "mul", "name": "add"}`, `{}`, 0, ""},
		{"a number beyond all", call, messages, `{"name": "add", "n": 1e-999999999}`, `{}`, 0, ""},
		{"deep", call, messages, strings.Repeat("[", 100000), `{}`, 0, ""},
		{"CEL", cel(`completion.contains(row.word) ? 2.5 : 0.0`), messages, "a rose", `{"word":"rose"}`, 2.5, ""},
		{"CEL bool", cel(`size(completion) < 10 && prompt == "?"`), messages, "a rose", `{}`, 1, ""},
		{"CEL of numbers", cel(`int(completion) == row.n + row.list[1].x`), messages, "7", `{"n":3,"list":[0,{"x":4}]}`, 1, ""},
		{"CEL guards", cel(`completion.matches("^[0-9]+$") && int(completion) == 3`), messages, "three", `{}`, 0, ""},
		{"CEL has", cel(`has(row.n) ? 1 : -1`), messages, "", `{}`, -1, ""},
		{"CEL without the column", cel(`row.wrod == completion`), messages, "x", `{}`, 0, "no such key: wrod"},
		{"CEL of no number", cel(`int(completion)`), messages, "x", `{}`, 0, "type conversion error"},
		{"CEL of a text", cel(`row.n`), messages, "x", `{"n":"1"}`, 0, "neither a number nor a bool"},
		{"CEL without end", cel(`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, completion.split("").all(c, completion.split("").all(d, completion.split("").all(e, true)))))`), messages, strings.Repeat("x", 1000), `{}`, 0, "cost limit exceeded"},
		{"CEL not finite", cel(`1.0 / 0.0`), messages, "x", `{}`, 0, "+Inf"},
		{"not UTF-8", cel(`size(completion)`), messages, "a\xff", `{}`, 2, ""},
		{"no answer", schemas.Grader{Exact: &named{}}, messages, "x", `{"messages":[{"role":"user","content":"?"}]}`, 0, "last assistant turn"},
		{"no column", schemas.Grader{Exact: &named{Column: "gold"}}, messages, "x", talk, 0, "no column gold"},
		{"null", schemas.Grader{Exact: &named{}}, mapped, "x", `{"a":null}`, 0, "column a is null"},
		{"a list", schemas.Grader{Exact: &named{}}, mapped, "x", `{"a":["x"]}`, 0, "neither text nor a number"},
		{"no number", schemas.Grader{Number: &named{}}, mapped, "1", `{"a":"one"}`, 0, "no number in the answer"},
		{"contains nothing", schemas.Grader{Contains: &named{}}, mapped, "x", `{"a":" "}`, 0, "the answer is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, err := New(test.grader, test.header, Env{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Score(t.Context(), Completion{Text: test.completion, Prompt: "?", Row: row(t, test.row)})
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
	schema := func(s map[string]any) schemas.Grader {
		return schemas.Grader{JSONSchema: &schemas.JSONSchema{Schema: s}}
	}
	cel := func(expression string) schemas.Grader {
		return schemas.Grader{CEL: &schemas.CEL{Expression: expression}}
	}
	for _, test := range []struct {
		grader schemas.Grader
		err    string
	}{
		{schemas.Grader{}, "0 graders"},
		{schemas.Grader{Exact: &named{}, Number: &named{}}, "2 graders"},
		{schemas.Grader{Regex: &schemas.Pattern{Pattern: "("}}, "missing closing"},
		{cel("completion +"), "1:13: Syntax error"},
		{cel("completion"), "neither a number nor a bool"},
		{cel("completoin == ''"), "1:1: undeclared reference to 'completoin'"},
		{cel("completion == 1"), "no matching overload"},
		{schema(map[string]any{"type": "objekt"}), "type"},
		{schema(map[string]any{"$ref": "https://example.com/x.json"}), "outside the schema"},
		{schema(map[string]any{"$ref": "file:///etc/passwd"}), "outside the schema"},
		{schema(map[string]any{"properties": map[string]any{"a": map[string]any{"$ref": "other.json#/x"}}}), "outside the schema"},
		{schema(map[string]any{"$schema": "https://example.com/own"}), "outside the schema"},
		{schema(map[string]any{"pattern": "("}), "regex"},
	} {
		g, err := New(test.grader, &dataset.Header{}, Env{})
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %v, error %v, want %q", test.grader, g, err, test.err)
		}
	}
}

func TestFenced(t *testing.T) {
	for text, want := range map[string]string{
		" SELECT 1\n":                 "SELECT 1",
		"a\n```sql\nSELECT 1\n```\nb": "SELECT 1",
		"```\n1\n```\n```\n2\n3\n```": "2\n3",
		"```json\n{}":                 "{}",
		"```\n```":                    "",
		"so ```x``` it is":            "so ```x``` it is",
		"```SELECT 1```":              "SELECT 1",
		"  ```sql\n  SELECT 1\n  ```": "SELECT 1",
	} {
		if got := fenced(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
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

// JSON is a model's too: whatever it is, it is valid or not, soon.
func FuzzJSONSchema(f *testing.F) {
	g, err := New(schemas.Grader{JSONSchema: &schemas.JSONSchema{Schema: map[string]any{
		"properties": map[string]any{"a": map[string]any{"multipleOf": 0.1, "maximum": 1e300}, "b": map[string]any{"$ref": "#"}}, "uniqueItems": true,
	}}}, &dataset.Header{}, Env{})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{`{"a": 1e308, "b": {"a": 0.30}}`, `{"a": 1e-999999999}`, `[1, 1.0, 10e-1]`, "```json\n[]", `{"a": "\ud800"}`, "[[[["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if x, err := g.Score(t.Context(), Completion{Text: s}); err != nil || x != 0 && x != 1 {
			t.Errorf("%q: %v, %v", s, x, err)
		}
	})
}

func FuzzCEL(f *testing.F) {
	g, err := New(schemas.Grader{CEL: &schemas.CEL{Expression: `double(size(completion.split(" ").filter(w, w.matches("^[a-z]+$")))) + (completion.contains(row.a) ? 1.0 : 0.0)`}}, &dataset.Header{}, Env{})
	if err != nil {
		f.Fatal(err)
	}
	row := ordjson.New(ordjson.Member{Key: "a", Value: "x"})
	for _, s := range []string{"a b c", "\xff", strings.Repeat("a ", 10000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if x, err := g.Score(t.Context(), Completion{Text: s, Row: row}); err != nil || x < 0 {
			t.Errorf("%q: %v, %v", s, x, err)
		}
	})
}
