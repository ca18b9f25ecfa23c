package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/chat/jinja"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
	"github.com/hone-ml/hone/stages/data"
)

// Prove is vet.data: what the rows of a training become, by the functions that the training itself reads them with, and what follows
// for its loss. Rows that training would refuse fail; the stage itself does not.
//
// Left out: packing, the order of rows, and what a model or a grader says of them.
func Prove(ctx context.Context, j *stages.Job) error {
	var c schemas.VetData
	if err := j.Decode(&c); err != nil {
		return err
	}
	date, err := day(c.Date)
	if err != nil {
		return err
	}
	in := j.In("model")
	s, err := newSpeaker(in)
	if err != nil {
		return stages.Errorf("model", "%w", trim(err, in.Path))
	}
	defer s.Tokenizer.Close()
	p := &prover{Speaker: s, j: j, c: &c, date: date, report: &job.Proofs{Sets: []*job.Rows{}, Proofs: []*job.Proof{}, Examples: []*job.Example{}}}
	p.turnEnd = s.Template.EndOfTurn(ctx, date)
	if err := p.rows(ctx, "data"); err != nil {
		return err
	}
	if c.Eval != nil {
		if err := p.rows(ctx, "eval.data"); err != nil {
			return err
		}
	}
	p.special()
	for i, suite := range c.Suites {
		if suite.Asked || suite.Taught {
			if err := p.suite(ctx, fmt.Sprintf("against[%d]", i), suite); err != nil {
				return err
			}
		}
	}
	overlaps, err := data.Overlaps(ctx, j, len(c.Against), c.Rows == 0)
	if err != nil {
		return err
	}
	p.report.Proofs = append(p.report.Proofs, overlaps...)
	j.Summary("rows", float64(p.report.Sets[0].Looked))
	return p.report.Write(j.Out("report"))
}

type prover struct {
	*Speaker // without a model
	j        *stages.Job
	c        *schemas.VetData
	date     time.Time
	turnEnd  string // the end-of-turn token
	chats    bool   // a row was rendered
	report   *job.Proofs
}

// looked is what a row became, before truncation.
type looked struct {
	sequences []sequence
	odd       string // about its turns
	rendered  bool   // by the template
	diverged  bool   // the prompt is tokenized otherwise alone
	turns     error  // why the assistant's turns could not be found, where training does not need them
	ends      bool   // each turn of the assistant, or the text, ends in a token that trains
	cut       bool   // by maxLength
	dropped   bool   // nothing trains within maxLength
}

// sequence is ids with what of them trains; of a prompt to answer nothing does.
type sequence struct {
	ids  []int32
	mask []bool
}

// rows looks at the dataset of a field.
func (p *prover) rows(ctx context.Context, field string) error {
	d, err := dataset.Open(p.j.In(field).Path)
	if err != nil {
		return stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	set := &job.Rows{Data: field, Rows: d.Rows}
	p.report.Sets = append(p.report.Sets, set)
	look, err := p.look(ctx, &d.Header)
	results, err := p.try(ctx, field, d, look, errors.Join(err, data.Comparable(d, p.c.Reads)))
	if err != nil || results == nil {
		return err
	}
	set.Looked = int64(len(results))
	for _, r := range results {
		if r.err != nil {
			continue
		}
		for _, s := range r.made.sequences {
			set.Tokens += int64(len(s.ids))
			set.Longest = max(set.Longest, int64(len(s.ids)))
			set.Trained += trained(s.mask)
		}
		if field == "data" && len(p.report.Examples) < maxExamples {
			p.report.Examples = append(p.report.Examples, p.example(r.row, r.made.sequences[0]))
		}
	}
	p.tell(field, d.Format, set, results)
	return nil
}

// looking is how a row is looked at.
type looking = func(*tokenizer.Tokenizer, dataset.Row) (*looked, error)

// try looks at the rows of a dataset that are picked. Where they are refused altogether that is told, and nothing comes of them.
func (p *prover) try(ctx context.Context, field string, d *dataset.Dataset, look looking, refused error) ([]*tryOf[*looked], error) {
	if refused != nil {
		p.add(&job.Proof{Name: job.ProofForm, Data: field, State: job.Fails, Message: refused.Error(), Rows: d.Rows, Of: d.Rows})
		return nil, nil //nolint:nilerr // it is what is found
	}
	rows := dataset.Spread(d.Rows, p.c.Rows)
	results, err := tryRows(ctx, p.j, d, p.Tokenizer, int64(len(rows)), func(row int64) bool {
		_, picked := slices.BinarySearch(rows, row)
		return picked
	}, func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
		odd := data.Odd(&d.Header, row)
		l, err := look(own, row)
		if err == nil {
			l.odd = odd
		}
		return l, err
	})
	if err != nil {
		return nil, stages.Errorf(field, "%w", err)
	}
	return results, nil
}

// suite looks at the rows of suites as an eval reads them.
func (p *prover) suite(ctx context.Context, field string, suite schemas.VetSuite) error {
	d, err := dataset.Open(p.j.In(field).Path)
	if err != nil {
		return stages.Errorf(field, "%w", err)
	}
	defer d.Close()
	h := &d.Header
	results, err := p.try(ctx, field, d, func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
		l := &looked{}
		if suite.Taught {
			r, err := chat.NewRow(func(role string) ordjson.Value { return h.Get(row, role) })
			if err == nil {
				_, err = chat.Encode(ctx, p.Template, own, r, data.MeasuredLoss(h.Format), p.date)
			}
			if err != nil {
				return nil, err
			}
			l.rendered = r.Kind != chat.PromptedText && r.Kind != chat.PlainText
		}
		if suite.Asked {
			q, err := p.prompt(ctx, own, d, row)
			if err != nil {
				return nil, err
			}
			_, text := q.shown.(string)
			l.rendered = l.rendered || !text
		}
		return l, data.Compares(h, row, suite.Reads)
	}, data.SuiteWants(suite, d))
	if err != nil || results == nil {
		return err
	}
	p.tell(field, d.Format, nil, results)
	return nil
}

// prompt is what a row asks.
func (p *prover) prompt(ctx context.Context, own *tokenizer.Tokenizer, d *dataset.Dataset, row dataset.Row) (*prompt, error) {
	s := *p.Speaker
	s.Tokenizer = own
	return s.row(ctx, d, row, "", p.date)
}

// look is how a row is looked at, and an error where the training reads no rows of this format.
func (p *prover) look(ctx context.Context, h *dataset.Header) (looking, error) {
	switch p.c.Kind {
	case "train.sft":
		loss := (&schemas.TrainSFT{Loss: p.c.Loss}).LossOf(string(h.Format))
		encode := encodes(ctx, h, p.Template, loss, p.date)
		return func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
			e, err := encode(own, row)
			if err != nil {
				return nil, err
			}
			r, err := chat.NewRow(func(role string) ordjson.Value { return h.Get(row, role) })
			if err != nil {
				return nil, err
			}
			l := &looked{diverged: e.Diverged, sequences: []sequence{{e.IDs, e.Mask}}}
			p.turnsOf(ctx, l, r, loss == chat.LossAssistant)
			x, cut := example(e, p.c.MaxLength, 0)
			l.cut, l.dropped = cut, x.Labels() == 0
			return l, nil
		}, errors.Join(data.Wants(p.c.Kind, h.Format, data.Taught...), data.Trains(loss, h.Format))
	case "train.dpo":
		roles, err := data.AnswerRoles(h.Format, p.c.Loss == schemas.KTO)
		answers := withAnswers(ctx, h, p.Template, roles, p.date)
		return func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
			a, err := answers(own, row)
			if err != nil {
				return nil, err
			}
			l := &looked{diverged: a.diverged, dropped: a.prompt >= p.c.MaxLength, ends: true}
			for i, ids := range a.ids {
				l.cut = l.cut || len(ids) > p.c.MaxLength
				l.sequences = append(l.sequences, sequence{ids, a.answer(ids, len(ids), 0).Trained})
				r, err := data.AnswerRow(h, row, roles[i])
				if err != nil {
					return nil, err
				}
				one := &looked{sequences: l.sequences[i:]}
				p.turnsOf(ctx, one, r, false)
				l.rendered, l.ends = one.rendered, l.ends && one.ends
				if l.turns == nil {
					l.turns = one.turns
				}
			}
			return l, nil
		}, err
	case "train.grpo":
		d := &dataset.Dataset{Header: *h}
		return func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
			q, err := p.prompt(ctx, own, d, row)
			if err == nil {
				err = errors.Join(data.Empty("prompt", q.shown), data.Compares(h, row, p.c.Reads))
			}
			if err != nil {
				return nil, err
			}
			_, text := q.shown.(string)
			return &looked{rendered: !text, dropped: len(q.ids) > p.c.MaxLength, sequences: []sequence{{q.ids, make([]bool, len(q.ids))}}}, nil
		}, data.Wants(p.c.Kind, h.Format, data.WithPrompt...)
	case "model.pretrain":
		return func(own *tokenizer.Tokenizer, row dataset.Row) (*looked, error) {
			ids, err := textIDs(own, h, row)
			if err != nil {
				return nil, err
			}
			s := sequence{ids, make([]bool, len(ids))}
			for i := range s.mask {
				s.mask[i] = true
			}
			return &looked{sequences: []sequence{s}, ends: true}, nil
		}, errors.Join(data.Wants(p.c.Kind, h.Format, dataset.Text), hasEnd(p.Tokenizer))
	}
	return nil, fmt.Errorf("%s is no training", p.c.Kind)
}

// turnsOf looks for the ends of what the first sequence of l teaches: of the row's turns, or of its text. Where training itself found
// the turns they are not sought again.
func (p *prover) turnsOf(ctx context.Context, l *looked, r *chat.Row, found bool) {
	s := l.sequences[0]
	if r.Kind == chat.PromptedText || r.Kind == chat.PlainText {
		n := len(s.ids)
		l.ends = n > 0 && s.ids[n-1] == p.Tokenizer.EOS.ID && s.mask[n-1]
		return
	}
	l.rendered = true
	if !found {
		_, l.turns = p.Template.Spans(ctx, r.Vars(p.date))
	}
	turns := 0
	taught := r.Messages
	if r.Kind == chat.PromptedConversation {
		taught = r.Completion
	}
	for _, m := range taught {
		if role, _ := m.Text("role"); role == "assistant" {
			turns++
		}
	}
	id, one := p.single(p.turnEnd)
	l.ends = !one || ended(s, id) >= turns
}

// ended counts the tokens of this id that train.
func ended(s sequence, id int32) (n int) {
	for i, token := range s.ids {
		if s.mask[i] && token == id {
			n++
		}
	}
	return n
}

func trained(mask []bool) (n int64) {
	for _, m := range mask {
		if m {
			n++
		}
	}
	return n
}

// about is the proof that an error of a row is about.
func about(err error) string {
	var template *jinja.Error
	switch {
	case errors.Is(err, chat.ErrPrefix):
		return job.ProofPrefix
	case errors.Is(err, chat.ErrEnd):
		return job.ProofEnd
	case errors.Is(err, chat.ErrNothing):
		return job.ProofMask
	case errors.As(err, &template):
		return job.ProofRender
	}
	return job.ProofForm
}

const (
	maxExamples = 3
	maxShown    = 4000 // bytes of an example
)

// example is the tokens of a sequence as text.
func (p *prover) example(row int64, s sequence) *job.Example {
	e := &job.Example{Row: row, Parts: []job.Part{}}
	shown := 0
	for i := 0; i < len(s.ids) && shown < maxShown; {
		n := 1
		for i+n < len(s.ids) && s.mask[i+n] == s.mask[i] {
			n++
		}
		text := p.Tokenizer.Decode(s.ids[i : i+min(n, maxShown)]) // a token is a byte at least
		if over := shown + len(text) - maxShown; over > 0 {
			text = strings.ToValidUTF8(text[:len(text)-over], "") + " …"
		}
		e.Parts = append(e.Parts, job.Part{Text: text, Trained: s.mask[i], Tokens: n})
		shown += len(text)
		i += n
	}
	return e
}

func (p *prover) add(proof *job.Proof) {
	if proof.Found == nil {
		proof.Found = []*job.Found{}
	}
	p.report.Proofs = append(p.report.Proofs, proof)
}
