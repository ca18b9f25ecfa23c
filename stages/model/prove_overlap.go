package model

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/stages"
)

// asked is a row by what it asks and by what it asks and answers, white space and case left aside; of plain text both are the text.
type asked struct {
	question, whole [sha256.Size]byte
}

// overlaps looks in all rows of the training's data for those that are there to measure by: in its eval, and in the suites of evals.
func (p *prover) overlaps(ctx context.Context) error {
	for i := range p.c.Against {
		if err := p.overlap(ctx, fmt.Sprintf("against[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// overlap compares the rows at a field with those of data.
func (p *prover) overlap(ctx context.Context, field string) error {
	questions, wholes := map[[sha256.Size]byte][]int64{}, map[[sha256.Size]byte][]int64{}
	rows := int64(0)
	err := p.eachAsked(ctx, field, func(row int64, a asked) {
		rows = row
		questions[a.question] = append(questions[a.question], row)
		wholes[a.whole] = append(wholes[a.whole], row)
	})
	if err != nil {
		return err
	}
	same := map[int64]int64{} // by row of the field, the first that is like it
	alike := map[int64]bool{} // answer and all
	err = p.eachAsked(ctx, "data", func(row int64, a asked) {
		for _, other := range questions[a.question] {
			if same[other] == 0 {
				same[other] = row
			}
		}
		for _, other := range wholes[a.whole] {
			alike[other] = true
		}
	})
	if err != nil {
		return err
	}
	x := &job.Proof{Name: job.ProofOverlap, Data: field, State: job.Proven, Rows: int64(len(same)), Of: rows}
	what := map[bool]string{true: "with the answer", false: "with another answer or none"}
	switch {
	case len(same) == 0:
		x.Message = fmt.Sprintf("none of %d rows is trained on", rows)
	case int64(len(alike)) == rows:
		x.State, x.Message = job.Fails, fmt.Sprintf("all %d rows are trained on: this measures memory", rows)
	default:
		x.State = job.Advice
		x.Message = fmt.Sprintf("%s ask what is trained on, %d of them %s", share(x.Rows, rows), len(alike), what[true])
	}
	for _, row := range slices.Sorted(maps.Keys(same))[:min(len(same), maxFound)] {
		x.Found = append(x.Found, &job.Found{Row: row, Same: same[row], Message: what[alike[row]]})
	}
	p.add(x)
	return nil
}

// eachAsked calls f with the rows of a dataset, which count from one.
func (p *prover) eachAsked(ctx context.Context, field string, f func(row int64, a asked)) error {
	d, err := dataset.Open(p.j.In(field).Path)
	if err != nil {
		return stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	row := int64(0)
	for r, err := range d.All() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return stages.Errorf(field, "%w", err)
		}
		row++
		question, answer := asks(d, r)
		f(row, asked{alikeness(question), alikeness(question + "\x00" + answer)})
	}
	return nil
}

// asks is what a row asks and the answer that it has: the turns before the last of the assistant, system messages left out, or
// the prompt, or plain text.
func asks(d *dataset.Dataset, row dataset.Row) (question, answer string) {
	ask := d.Get(row, promptRole(d.Format))
	switch d.Format {
	case dataset.PromptCompletion, dataset.KTO:
		answer = said(d.Get(row, "completion"))
	case dataset.Preference:
		answer = said(d.Get(row, "chosen"))
	}
	turns, _ := ask.([]ordjson.Value)
	if n := len(turns); n > 0 && roleOf(turns[n-1]) == "assistant" {
		ask, answer = turns[:n-1:n-1], said(turns[n-1:])
	}
	if answer == "" {
		answer = said(d.Get(row, "answer"))
	}
	return said(ask), answer
}

// said is the text of a value, or of the messages that are not the system's.
func said(v ordjson.Value) string {
	if turns, ok := v.([]ordjson.Value); ok {
		v = slices.DeleteFunc(slices.Clone(turns), func(turn ordjson.Value) bool {
			role := roleOf(turn)
			return role == "system" || role == "developer"
		})
	}
	return strings.Join(dataset.TextsOf(v), "\n")
}

func roleOf(turn ordjson.Value) string {
	m, ok := turn.(*ordjson.Object)
	if !ok {
		return ""
	}
	role, _ := m.Text("role")
	return role
}

// alikeness is equal for texts that differ in white space and case alone.
func alikeness(text string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.Join(strings.Fields(strings.ToLower(text)), " ")))
}
