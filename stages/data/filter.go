package data

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Counter counts the tokens of rows, as a model's template and tokenizer make them.
type Counter interface {
	Count(row dataset.Row) (int64, error)
}

// OpenCounter opens a counter for rows of a dataset with this header. The model is the stage's input "model".
type OpenCounter func(j *stages.Job, header *dataset.Header) (Counter, error)

// droppedBy is the column of dropped rows that names the step.
const droppedBy = "dropped_by"

// test says whether a row stays.
type test struct {
	name string // steps[1].length.turns
	keep func(dataset.Row) (bool, error)
}

// Filter is curate.filter: a row goes at the first step that refuses it, to the port dropped, with that step's name.
func Filter(count OpenCounter) stages.Stage {
	return func(ctx context.Context, j *stages.Job) error {
		var c schemas.CurateFilter
		if err := j.Decode(&c); err != nil {
			return err
		}
		d, err := open(j, "data")
		if err != nil {
			return err
		}
		defer d.Close()
		tests, err := compile(j, d, c.Steps, count)
		if err != nil {
			return err
		}
		kept, err := dataset.Create(j.Out("data"), d.Format, d.Columns, d.Names()...)
		if err != nil {
			return err
		}
		defer kept.Discard()
		dropped, err := dataset.Create(j.Out("dropped"), d.Format, d.Columns, append(d.Names(), droppedBy)...)
		if err != nil {
			return err
		}
		defer dropped.Discard()
		refused := make([]int64, len(tests))
		err = each(ctx, j, d, func(i int64, row dataset.Row) error {
			at, err := firstRefusal(tests, row)
			if err != nil {
				return fmt.Errorf("%s: %w", j.Row("data", i+1), err)
			}
			if at >= 0 && j.Rows > 0 && i == d.Rows-1 && kept.Rows() == 0 {
				j.Warn("no row of %d passes the steps: the smoke keeps one", d.Rows)
				at = -1
			}
			if at < 0 {
				j.From("data", "data", i+1)
				return kept.Write(row)
			}
			refused[at]++
			row.Set(droppedBy, tests[at].name)
			j.From("dropped", "data", i+1)
			return dropped.Write(row)
		})
		if err != nil {
			return err
		}
		return finish(j, d, tests, refused, kept, dropped)
	}
}

func firstRefusal(tests []test, row dataset.Row) (int, error) {
	for i, t := range tests {
		keep, err := t.keep(row)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", t.name, err)
		}
		if !keep {
			return i, nil
		}
	}
	return -1, nil
}

func finish(j *stages.Job, d *dataset.Dataset, tests []test, refused []int64, kept, dropped *dataset.Writer) error {
	var said []string
	for i, t := range tests {
		j.Summary("dropped."+t.name, float64(refused[i]))
		if refused[i] > 0 {
			said = append(said, fmt.Sprintf("%s dropped %d", t.name, refused[i]))
		}
	}
	if kept.Rows() == 0 {
		return stages.Errorf("steps", "no row of %d is left: %s", d.Rows, strings.Join(said, ", "))
	}
	if len(said) > 0 {
		j.Log("%d of %d rows are left: %s", kept.Rows(), d.Rows, strings.Join(said, ", "))
	}
	if err := kept.Close(); err != nil {
		return err
	}
	if err := dropped.Close(); err != nil {
		return err
	}
	j.Summary("rows", float64(kept.Rows()))
	j.Summary("dropped", float64(dropped.Rows()))
	return nil
}

// compile makes the tests of the steps, in order.
func compile(j *stages.Job, d *dataset.Dataset, steps []schemas.FilterStep, count OpenCounter) ([]test, error) {
	var tests []test
	for i, step := range steps {
		name := fmt.Sprintf("steps[%d]", i)
		switch {
		case step.Length != nil:
			l := step.Length
			if l.Characters != nil {
				tests = append(tests, test{name + ".length.characters", within(l.Characters, func(row dataset.Row) (int64, error) {
					return characters(&d.Header, row), nil
				})})
			}
			if l.Turns != nil {
				tests = append(tests, test{name + ".length.turns", within(l.Turns, func(row dataset.Row) (int64, error) {
					return turns(&d.Header, row), nil
				})})
			}
			if l.Tokens != nil {
				counter, err := openCounter(j, &d.Header, name+".length.tokens", count)
				if err != nil {
					return nil, err
				}
				tests = append(tests, test{name + ".length.tokens", within(l.Tokens, counter.Count)})
			}
		case step.Regex != nil:
			t, err := matches(d, name+".regex", step.Regex.Pattern, step.Regex.Column, step.Regex.Keep)
			if err != nil {
				return nil, err
			}
			tests = append(tests, t)
		case step.Exact != nil:
			tests = append(tests, test{name + ".exact", unseen(&d.Header)})
		default:
			return nil, stages.Errorf(name, "an empty step")
		}
	}
	return tests, nil
}

func openCounter(j *stages.Job, h *dataset.Header, field string, count OpenCounter) (Counter, error) {
	if _, ok := j.Inputs["model"]; !ok {
		return nil, stages.Errorf(field, "tokens are counted by a model's tokenizer: give model")
	}
	if count == nil {
		return nil, stages.Environment(stages.Errorf(field, "tokens are counted by hone-worker, which this is not"))
	}
	return count(j, h)
}

func within(r *schemas.Range, count func(dataset.Row) (int64, error)) func(dataset.Row) (bool, error) {
	return func(row dataset.Row) (bool, error) {
		n, err := count(row)
		return (r.Min == nil || n >= *r.Min) && (r.Max == nil || n <= *r.Max), err
	}
}

// characters counts the code points of the row's text.
func characters(h *dataset.Header, row dataset.Row) int64 {
	var n int64
	for _, s := range h.Texts(row) {
		n += int64(utf8.RuneCountInString(s))
	}
	return n
}

// turns counts the messages of the row's conversation but system messages. Text counts as a turn. Of chosen and
// rejected the longer counts.
func turns(h *dataset.Header, row dataset.Row) int64 {
	var n, longest int64
	for _, role := range h.Format.Roles() {
		of := turnsOf(h.Get(row, role))
		switch role {
		case "label":
		case "chosen", "rejected":
			longest = max(longest, of)
		default:
			n += of
		}
	}
	return n + longest
}

func turnsOf(v dataset.Value) int64 {
	list, ok := v.([]dataset.Value)
	if !ok {
		return 1
	}
	var n int64
	for _, turn := range list {
		if m, ok := turn.(*ordjson.Object); ok {
			if role, _ := m.Text("role"); role != "system" && role != "developer" {
				n++
			}
		}
	}
	return n
}

// matches keeps rows whose text matches the pattern, or with keep false those whose text does not.
func matches(d *dataset.Dataset, name, pattern, column string, keep bool) (test, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return test{}, stages.Errorf(name+".pattern", "%w", err)
	}
	if column == "" {
		return test{name, func(row dataset.Row) (bool, error) {
			return re.MatchString(strings.Join(d.Texts(row), "\n")) == keep, nil
		}}, nil
	}
	names := d.Names()
	if !slices.Contains(names, column) {
		return test{}, stages.Errorf(name+".column", "no column %q; there are %s", column, strings.Join(names, ", "))
	}
	return test{name, func(row dataset.Row) (bool, error) {
		v, _ := row.Get(column)
		return re.MatchString(strings.Join(dataset.TextsOf(v), "\n")) == keep, nil
	}}, nil
}

// unseen keeps rows whose roles hold something else than every earlier row's. Columns without a role, an id say, do
// not make two rows different. A row costs 32 bytes of memory, or somewhat more.
func unseen(h *dataset.Header) func(dataset.Row) (bool, error) {
	seen := map[[sha256.Size]byte]struct{}{}
	roles := append(append([]string(nil), h.Format.Roles()...), "answer", "tools")
	var b []byte
	return func(row dataset.Row) (bool, error) {
		b = b[:0]
		for _, role := range roles {
			b = append(ordjson.Append(b, h.Get(row, role)), '\n')
		}
		sum := sha256.Sum256(b)
		_, twice := seen[sum]
		seen[sum] = struct{}{}
		return !twice, nil
	}
}
