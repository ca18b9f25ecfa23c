package jinja

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func render(t *testing.T, source string, limits Limits) (string, error) {
	t.Helper()
	template, err := Parse(source)
	if err != nil {
		return "", err
	}
	text, _, err := template.Render(context.Background(), map[string]Value{"l": NewList(int64(1), int64(2))}, Options{Limits: limits})
	return text, err
}

// Whatever a template does, it ends soon, and with little memory.
func TestRendersAreBounded(t *testing.T) {
	limits := Limits{Time: time.Second, Output: 1 << 20, Memory: 16 << 20}
	const many = "{% for a in range(99999) %}{% for b in range(99999) %}BODY{% endfor %}{% endfor %}"
	for source, want := range map[string]string{
		strings.Replace(many, "BODY", "", 1):                         "no end after 1s",
		strings.Replace(many, "BODY", "xxxxxxxx", 1):                 "output over 1 MiB",
		strings.Replace(many, "BODY", "{% set x = 'a' * 1000 %}", 1): "built more than 16 MiB",
		"{{ 'a' * 10000000000 }}":                                    "output over 1 MiB",
		"{{ [0] * 10000000000 }}":                                    "output over 1 MiB",
		"{{ 'a' | center(10000000000) }}":                            "output over 1 MiB",
		"{{ '%10000000d' % 1 }}":                                     "output over 1 MiB",
		"{{ '{:>10000000}'.format(1) }}":                             "output over 1 MiB",
		"{{ ('a' * 10000).replace('a', 'b' * 10000) }}":              "output over 1 MiB",
		"{{ ('x' * 10000) | list | join('y' * 10000) }}":             "output over 1 MiB",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}":                                          "recursion",
		"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}":                                             "output over 1 MiB",
		"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}":                                    "output over 1 MiB",
		"{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}": "no end after 1s",
		"{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}":                                                       "output over 1 MiB",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}":                                                                                                        "recursion",
		"{% macro m(x) %}{{ m(x) if x }}{{ m(x) }}{% endmacro %}{{ m(1) }}":                                                                                      "recursion",
		"{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}":                                                                                              "recursion",
		"{{ 9 ** (9 ** 9) }}": "bits",
		"{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}":                      "bits",
		"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}":                                                              "recursion",
		"{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x == ns.x[0] }}": "recursion",
		"{{ l | tojson(indent=100000) }}":                                "indent",
		"{{ range(99999) | list | batch(99999999, 0) | list | length }}": "built more than 16 MiB",
		"{{ 'a' | indent(99999999) }}":                                   "output over 1 MiB",
	} {
		began := time.Now()
		_, err := render(t, source, limits)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.90s: error %v, want %s", source, err, want)
		}
		if d := time.Since(began); d > 3*time.Second {
			t.Errorf("%.90s took %v", source, d)
		}
	}
}

func TestRenderEndsWithItsContext(t *testing.T) {
	template, err := Parse("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, _, err = template.Render(ctx, nil, Options{})
	var failure *Error
	if !errors.As(err, &failure) || !failure.Limit {
		t.Error(err)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	for _, source := range []string{
		strings.Repeat("x", MaxSource+1),
		"{{ " + strings.Repeat("(", 100000) + " }}",
		"{{ " + strings.Repeat("[", 100000) + " }}",
		"{{ " + strings.Repeat("-", 100000) + "1 }}",
		"{{ " + strings.Repeat("not ", 100000) + "1 }}",
		strings.Repeat("{% if 1 %}", 100000),
		strings.Repeat("{% for x in l %}", 100000),
		"{% set " + strings.Repeat("(", 100000) + "a",
		"{{ 1 if " + strings.Repeat("1 if 1 else ", 100000) + "1 }}",
	} {
		if _, err := Parse(source); err == nil {
			t.Errorf("%.40s… is taken", source)
		}
	}
	// What nests to the left is a loop in the parser but not in a render.
	for _, source := range []string{
		"{{ 1" + strings.Repeat(" + 1", 100000) + " }}",
		"{{ l" + strings.Repeat("[0]", 100000) + " }}",
		"{{ l" + strings.Repeat(" | list", 100000) + " }}",
		"{{ 1" + strings.Repeat(" and 1", 100000) + " }}",
		"{% if 0 %}" + strings.Repeat("{% elif 0 %}", 100000) + "{% endif %}",
	} {
		if _, err := render(t, source, Limits{Time: 5 * time.Second}); err != nil {
			var failure *Error
			if !errors.As(err, &failure) {
				t.Errorf("%.40s…: %v", source, err)
			}
		}
	}
}

func TestErrorsSayTheLine(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ x.y }}":                         "template:2: 'x' is undefined",
		"{% if 1 %}\n\n{{ l.a.b }}{% endif %}": "template:3: 'list object' has no attribute 'a'",
		"\n\n{% for %}":                        "template:3: ",
		"\n{{ raise_exception('no') }}":        "template:2: no",
	} {
		_, err := render(t, source, Limits{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", source, err, want)
		}
	}
}

// FuzzRender: no source makes the package panic, run long or print without end.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		"{% for m in l %}{{ loop.index }}{% if m %}{% set x = m %}{% endif %}{% endfor %}",
		"{% macro f(a, b=1) %}{{ a ~ b }}{% endmacro %}{{ f(1) }}{% call f(2) %}x{% endcall %}",
		"{{ l | map('string') | join(', ') | upper | tojson(indent=2) }} {{ l[::-1] }} {{ 'a{}b'.format(1) }} {{ '%5.2f' % 1.5 }}",
		"{%- raw -%} {{ x }} {%- endraw -%}{# c #}{{ {'a': [1, (2,)], 1.5: none} }}",
		"{% generation %}{{ namespace(a=1).a }}{% endgeneration %}{% set a, b = l %}{{ a }}{% with x = 1 %}{{ x }}{% endwith %}",
		"{{ l is iterable and 1 in l or 'a' not in 'b' if l else -1 ** 2 // 3 }}{{ strftime_now('%Y%') }}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		defer func(began time.Time) {
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		}(time.Now())
		template, err := Parse(source)
		if err != nil {
			return
		}
		limits := Limits{Time: time.Second, Output: 1 << 16, Memory: 1 << 22}
		text, spans, err := template.Render(context.Background(), map[string]Value{
			"l": NewList(int64(1), "é", nil), "messages": NewList(NewDict().Set("role", "user").Set("content", "x")),
		}, Options{Limits: limits, Mark: true, Now: time.Unix(0, 0).UTC()})
		if err != nil {
			return
		}
		if len(text) > limits.Output {
			t.Errorf("%d bytes", len(text))
		}
		for _, s := range spans {
			if s.Start < 0 || s.End < s.Start || s.End > len(text) {
				t.Errorf("span %v of %d bytes", s, len(text))
			}
		}
	})
}
