package model

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// folder is where a model's tokenizer and template are: an adapter's own, where it has them, else its base's.
func folder(in job.Input) string {
	if in.Base != nil && !exists(in.Path, "tokenizer.json") {
		return in.Base.Path
	}
	return in.Path
}

// day reads a config's date.
func day(date string) (time.Time, error) {
	if date == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return t, stages.Errorf("date", "%q is not YYYY-MM-DD", date)
	}
	return t, nil
}

// openTemplate reads a model's template and says so where it has none.
func openTemplate(j *stages.Job, dir string) (*chat.Template, error) {
	t, err := chat.Load(dir)
	if err != nil {
		return nil, err
	}
	if t.Substituted {
		j.Warn("the model has no chat template: plain is used, and pad becomes eos")
	}
	return t, nil
}

// encoding is how rows of a dataset become ids and mask.
type encoding struct {
	field     string // of the dataset among the inputs
	dir       string // of the model
	loss      string
	maxLength int // 0 is no bound
	date      string
}

// made is what encoding a dataset gave.
type made struct {
	examples           []train.Example
	template           *chat.Template
	truncated, dropped int64
}

// encode makes every row of a dataset ready. All bad rows are named at once. A row that truncation
// leaves without trained tokens is dropped and counted.
func encode(ctx context.Context, j *stages.Job, d *dataset.Dataset, e encoding) (*made, error) {
	date, err := day(e.date)
	if err != nil {
		return nil, err
	}
	template, err := openTemplate(j, e.dir)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(e.dir)
	if err != nil {
		return nil, err
	}
	defer tok.Close()
	if template.Marked() {
		j.Log("the template marks what is trained with {%% generation %%}")
	}
	type kept struct {
		train.Example
		cut, diverged bool
	}
	whole := encodes(ctx, &d.Header, template, e.loss, date)
	results, err := eachRow(ctx, j, e.field, d, tok, func(own *tokenizer.Tokenizer, row dataset.Row) (k kept, err error) {
		encoded, err := whole(own, row)
		if err != nil {
			return k, err
		}
		k.diverged = encoded.Diverged
		if k.Example, k.cut = example(encoded, e.maxLength, 0); k.cut { // what is beyond is not held until the last row is done
			k.IDs, k.Trained = slices.Clone(k.IDs), slices.Clone(k.Trained)
		}
		return k, nil
	})
	if err != nil {
		return nil, err
	}
	m := &made{template: template}
	diverged := 0
	for i, k := range results {
		if k.diverged {
			diverged++
		}
		if k.cut {
			m.truncated++
		}
		if k.Labels() == 0 {
			m.dropped++
			continue
		}
		k.Row = int64(i + 1)
		m.examples = append(m.examples, k.Example)
	}
	warnDiverged(j, diverged)
	longest := 0
	for _, x := range m.examples {
		longest = max(longest, len(x.IDs))
	}
	if err := checkPositions(j, e.field, e.dir, longest); err != nil {
		return nil, err
	}
	if len(m.examples) == 0 {
		return nil, stages.Errorf(e.field, "no row with a trained token: %d rows, %d cut to nothing at maxLength %d", d.Rows, m.dropped, e.maxLength)
	}
	return m, nil
}

// checkPositions holds the longest row of a dataset against the positions that the model was made for. What was never trained works, badly;
// where positions are learned there is none.
func checkPositions(j *stages.Job, field, dir string, longest int) error {
	c, err := model.ReadConfig(dir)
	if err != nil || c.MaxPositionEmbeddings <= 0 || int64(longest) <= c.MaxPositionEmbeddings {
		return nil //nolint:nilerr // opening the model says what is wrong with it
	}
	const said = "%s: the longest row has %d tokens, the model %d positions"
	if c.ModelType == "gpt2" {
		return stages.Errorf("maxLength", said, field, longest, c.MaxPositionEmbeddings)
	}
	j.Warn(said+" (max_position_embeddings): it has learnt nothing of what is beyond; a lower maxLength cuts it", field, longest, c.MaxPositionEmbeddings)
	return nil
}

// example is a row's first maxLength tokens (all where it is 0), and whether there are more.
func example(e *chat.Encoded, maxLength int, row int64) (x train.Example, cut bool) {
	length := len(e.IDs)
	e.Truncate(maxLength)
	return train.Example{IDs: e.IDs, Trained: e.Mask, Row: row}, len(e.IDs) < length
}

// encodes is how a row becomes ids and mask, before truncation.
func encodes(ctx context.Context, h *dataset.Header, t *chat.Template, loss string, date time.Time) func(*tokenizer.Tokenizer, dataset.Row) (*chat.Encoded, error) {
	return func(own *tokenizer.Tokenizer, row dataset.Row) (*chat.Encoded, error) {
		r, err := chat.NewRow(func(role string) ordjson.Value { return h.Get(row, role) })
		if err != nil {
			return nil, err
		}
		return chat.Encode(ctx, t, own, r, loss, date)
	}
}

// eachRow calls f with every row of the dataset at an input and gives what it made in the rows' order. All rows that f refuses are
// named at once.
func eachRow[T any](ctx context.Context, j *stages.Job, field string, d *dataset.Dataset, tok *tokenizer.Tokenizer,
	f func(own *tokenizer.Tokenizer, row dataset.Row) (T, error)) ([]T, error) {
	results, err := tryRows(ctx, j, d, tok, d.Rows, func(int64) bool { return true }, f)
	if err != nil {
		return nil, err
	}
	var bad dataset.BadRows
	made := make([]T, len(results))
	for i, r := range results {
		if r.err != nil {
			bad.Add(&dataset.RowError{Where: j.Row(field, r.row), Err: r.err})
		}
		made[i] = r.made
	}
	if err := bad.Err(); err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	return made, nil
}

// tryOf is what f made of a row, which counts from one, or why it refused it.
type tryOf[T any] struct {
	row  int64
	made T
	err  error
}

// tryRows calls f with the n rows of a dataset that are picked, on several goroutines with a tokenizer each, and gives what came of
// each in the rows' order.
func tryRows[T any](ctx context.Context, j *stages.Job, d *dataset.Dataset, tok *tokenizer.Tokenizer, n int64, picked func(row int64) bool,
	f func(own *tokenizer.Tokenizer, row dataset.Row) (T, error)) ([]*tryOf[T], error) {
	type work struct {
		*tryOf[T]
		row dataset.Row
	}
	const few = 32 // rows are done sooner than another tokenizer is made
	rows, results := make(chan work, 64), make([]*tryOf[T], 0, n)
	var group sync.WaitGroup
	for range min(max(1, int64(j.Threads)), n/few+1) {
		own, err := tok.Clone()
		if err != nil {
			return nil, err
		}
		group.Add(1)
		go func() {
			defer group.Done()
			defer own.Close()
			for w := range rows {
				w.made, w.err = f(own, w.row)
			}
		}()
	}
	var reading error
	at := int64(0)
	for row, err := range d.All() {
		if reading = err; err != nil {
			break
		}
		if reading = ctx.Err(); reading != nil {
			break
		}
		if at++; !picked(at) {
			continue
		}
		w := work{&tryOf[T]{row: at}, row}
		results = append(results, w.tryOf)
		rows <- w
		j.Progress(int64(len(results)), n, "rows")
	}
	close(rows)
	group.Wait()
	return results, reading
}

func warnDiverged(j *stages.Job, rows int) {
	if rows > 0 {
		j.Warn("%d rows whose prompt is tokenized otherwise alone than with its completion", rows)
	}
}

// report counts what became of the rows, in a line and in metrics.
func (m *made) report(j *stages.Job, maxLength int) {
	var tokens, labels int64
	for _, e := range m.examples {
		tokens += int64(len(e.IDs))
		labels += e.Labels()
	}
	j.Summary("rows", float64(len(m.examples)))
	j.Summary("rows_truncated", float64(m.truncated))
	j.Summary("rows_dropped", float64(m.dropped))
	j.Summary("tokens", float64(tokens))
	j.Summary("trained_tokens", float64(labels))
	j.Log("%d rows, %d tokens, %d of them trained", len(m.examples), tokens, labels)
	if m.truncated > 0 {
		j.Warn("%d rows are cut at maxLength %d; %d of them have no trained token left and are dropped", m.truncated, maxLength, m.dropped)
	}
}

// counter counts tokens of rows for curate.filter.
type counter struct {
	header   *dataset.Header
	template *chat.Template
	tok      *tokenizer.Tokenizer
}

// openCounter opens what counts tokens: the input "model" with its template.
func openCounter(j *stages.Job, h *dataset.Header) (data.Counter, error) {
	if err := data.Wants("counting tokens", h.Format, data.Taught...); err != nil {
		return nil, stages.Errorf("data", "%w", err)
	}
	dir := folder(j.In("model"))
	template, err := openTemplate(j, dir)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	return &counter{header: h, template: template, tok: tok}, nil
}

// Count is the tokens that the row would be trained with.
func (c *counter) Count(row dataset.Row) (int64, error) {
	r, err := chat.NewRow(func(role string) ordjson.Value { return c.header.Get(row, role) })
	if err != nil {
		return 0, err
	}
	e, err := chat.Encode(context.Background(), c.template, c.tok, r, chat.LossAll, time.Time{})
	if err != nil {
		return 0, err
	}
	return int64(len(e.IDs)), nil
}
