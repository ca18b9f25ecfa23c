package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/internal/train"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// preferences is the rows of a preference dataset made ready: Pairs, or Judged for kto.
type preferences struct {
	Pairs    []train.Pair
	Judged   []train.Judged
	template *chat.Template

	truncated, dropped int64
	alike              int64 // pairs whose answers maxLength makes the same
}

// answered is a row's completions as tokens behind its prompt, of which all share the first prompt tokens.
type answered struct {
	ids       [][]int32
	prompt    int
	desirable bool
	diverged  bool
}

// readPreferences makes the rows at an input ready as TRL's DPOTrainer and KTOTrainer do (mismatched is kto's batch of rows,
// 0 for pairs): a completion begins where the ids with it part from those of the prompt alone; the start of a sequence is kept; a
// row whose prompt fills maxLength is dropped and counted.
func readPreferences(ctx context.Context, j *stages.Job, field, dir string, maxLength int, date string, mismatched int) (*preferences, error) {
	d, err := j.Dataset(field)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	roles, err := data.AnswerRoles(d.Format, mismatched > 0)
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	day, err := day(date)
	if err != nil {
		return nil, err
	}
	template, err := openTemplate(j, dir)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	defer tok.Close()
	rows, err := eachRow(ctx, j, field, d, tok, withAnswers(ctx, &d.Header, template, roles, day))
	if err != nil {
		return nil, err
	}
	p := &preferences{template: template}
	var kept []*answered
	var numbers []int64
	diverged := 0
	for i, a := range rows {
		if a.diverged {
			diverged++
		}
		if a.prompt >= maxLength {
			p.dropped++
			continue
		}
		if slices.ContainsFunc(a.ids, func(ids []int32) bool { return len(ids) > maxLength }) {
			p.truncated++
		}
		kept, numbers = append(kept, a), append(numbers, int64(i+1))
	}
	warnDiverged(j, diverged)
	longest := 0
	for _, a := range kept {
		for _, ids := range a.ids {
			longest = max(longest, min(len(ids), maxLength))
		}
	}
	if err := checkPositions(j, field, dir, longest); err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return nil, stages.Errorf(field, "no row is left: the prompts of all %d fill maxLength %d", d.Rows, maxLength)
	}
	for i, a := range kept {
		if mismatched == 0 {
			pair := train.Pair{Chosen: a.answer(a.ids[0], maxLength, numbers[i]), Rejected: a.answer(a.ids[1], maxLength, numbers[i])}
			if slices.Equal(pair.Chosen.IDs, pair.Rejected.IDs) {
				p.alike++
			}
			p.Pairs = append(p.Pairs, pair)
			continue
		}
		other := kept[mismatch(i, len(kept), mismatched)]
		p.Judged = append(p.Judged, train.Judged{
			Answer: a.answer(a.ids[0], maxLength, numbers[i]), Desirable: a.desirable,
			Other: a.answer(slices.Concat(a.ids[0][:a.prompt], other.ids[0][other.prompt:]), maxLength, numbers[i]),
		})
	}
	return p, nil
}

// withAnswers is how a row becomes its answers behind their prompt, before truncation.
func withAnswers(ctx context.Context, h *dataset.Header, t *chat.Template, roles []string, day time.Time) func(*tokenizer.Tokenizer, dataset.Row) (*answered, error) {
	return func(own *tokenizer.Tokenizer, row dataset.Row) (*answered, error) {
		a := &answered{}
		if err := data.Empty("prompt", h.Get(row, "prompt")); err != nil {
			return nil, err
		}
		for _, role := range roles {
			if err := data.Empty(role, h.Get(row, role)); err != nil {
				return nil, err
			}
			r, err := data.AnswerRow(h, row, role)
			if err != nil {
				return nil, err
			}
			e, err := chat.Encode(ctx, t, own, r, chat.LossCompletion, day)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", role, err)
			}
			prompt := slices.Index(e.Mask, true)
			if len(a.ids) == 0 || prompt < a.prompt {
				a.prompt = prompt
			}
			a.ids, a.diverged = append(a.ids, e.IDs), a.diverged || e.Diverged
		}
		if len(roles) == 2 && slices.Equal(a.ids[0], a.ids[1]) {
			return nil, errors.New("chosen and rejected are the same")
		}
		a.desirable, _ = h.Get(row, "label").(bool)
		return a, nil
	}
}

// mismatch is the row whose completion row i of n is given for KTO's estimate: the one before it among the rows that stand
// together in groups of so many, round in a circle, as TRL 1.16 deals them before anything is shuffled.
func mismatch(i, n, group int) int {
	from := i / group * group
	to := min(from+group, n)
	return from + (i-from+to-from-1)%(to-from)
}

func (a *answered) answer(ids []int32, maxLength int, row int64) train.Answer {
	e := train.Example{IDs: ids[:min(len(ids), maxLength)], Row: row}
	e.Trained = make([]bool, len(e.IDs))
	for i := a.prompt; i < len(e.IDs); i++ {
		e.Trained[i] = true
	}
	return train.Answer{Example: e}
}

// answers is every sequence of the rows, in the order in which a reference's scores are kept.
func (p *preferences) answers() (names [2]string, all []*train.Answer) {
	for i := range p.Pairs {
		all = append(all, &p.Pairs[i].Chosen, &p.Pairs[i].Rejected)
	}
	for i := range p.Judged {
		all = append(all, &p.Judged[i].Answer, &p.Judged[i].Other)
	}
	if p.Judged != nil {
		return [2]string{"completion", "other"}, all
	}
	return [2]string{"chosen", "rejected"}, all
}

// report counts what became of the rows, in a line and in metrics.
func (p *preferences) report(j *stages.Job, maxLength int) {
	_, all := p.answers()
	var tokens, labels int64
	for _, a := range all {
		tokens += int64(len(a.IDs))
		labels += a.Labels()
	}
	j.Summary("rows", float64(len(all)/2))
	j.Summary("rows_truncated", float64(p.truncated))
	j.Summary("rows_dropped", float64(p.dropped))
	j.Summary("tokens", float64(tokens))
	j.Summary("trained_tokens", float64(labels))
	j.Log("%d rows, %d tokens, %d of them in completions", len(all)/2, tokens, labels)
	if p.truncated+p.dropped > 0 {
		j.Warn("%d rows are cut at maxLength %d; %d more are dropped, whose prompts alone fill it", p.truncated, maxLength, p.dropped)
	}
	if p.alike > 0 {
		j.Warn("chosen and rejected of %d rows are the same up to maxLength %d: nothing is learnt of those", p.alike, maxLength)
	}
}
