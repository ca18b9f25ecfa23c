package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// proveRows is vet.rows: what of vet.data needs no tokenizer. Rows that training would refuse fail; the stage itself does not.
func proveRows(ctx context.Context, j *stages.Job) error {
	var c schemas.VetRows
	if err := j.Decode(&c); err != nil {
		return err
	}
	report := &job.Proofs{Sets: []*job.Rows{}, Proofs: []*job.Proof{}, Examples: []*job.Example{}}
	fields := []string{"data"}
	if c.Eval != nil {
		fields = append(fields, "eval.data")
	}
	for _, field := range fields {
		set, proofs, err := proveField(ctx, j, field, c.Rows, func(d *dataset.Dataset) (checking, error) { return checks(&c, d) })
		if err != nil {
			return err
		}
		report.Sets, report.Proofs = append(report.Sets, set), append(report.Proofs, proofs...)
	}
	for i, suite := range c.Suites {
		if !suite.Asked && !suite.Taught {
			continue
		}
		_, proofs, err := proveField(ctx, j, fmt.Sprintf("against[%d]", i), c.Rows, func(d *dataset.Dataset) (checking, error) { return suiteChecks(suite, d) })
		if err != nil {
			return err
		}
		report.Proofs = append(report.Proofs, proofs...)
	}
	overlaps, err := Overlaps(ctx, j, len(c.Against), c.Rows == 0)
	if err != nil {
		return err
	}
	report.Proofs = append(report.Proofs, overlaps...)
	return report.Write(j.Out("report"))
}

// checking is what refuses a row.
type checking = func(dataset.Row) error

// proveField looks at so many rows of a dataset, all where that is 0.
func proveField(ctx context.Context, j *stages.Job, field string, n int64, checks func(*dataset.Dataset) (checking, error)) (*job.Rows, []*job.Proof, error) {
	d, err := open(j, field)
	if err != nil {
		return nil, nil, err
	}
	defer d.Close()
	set := &job.Rows{Data: field, Rows: d.Rows}
	check, err := checks(d)
	if err != nil {
		return set, []*job.Proof{{Name: job.ProofForm, Data: field, State: job.Fails, Message: err.Error(), Rows: d.Rows, Of: d.Rows, Found: []*job.Found{}}}, nil
	}
	among := dataset.Spread(d.Rows, n)
	set.Looked = int64(len(among))
	var refused, odd []*job.Found
	err = each(ctx, j, d, func(i int64, row dataset.Row) error {
		if _, picked := slices.BinarySearch(among, i+1); !picked {
			return nil
		}
		if err := check(row); err != nil {
			refused = append(refused, &job.Found{Row: i + 1, Message: err.Error()})
		} else if what := Odd(&d.Header, row); what != "" {
			odd = append(odd, &job.Found{Row: i + 1, Message: what})
		}
		return nil
	})
	if err != nil {
		return nil, nil, stages.Errorf(field, "%w", err)
	}
	form := &job.Proof{Name: job.ProofForm, Data: field, State: job.Proven, Message: Shape(d.Format), Of: set.Looked, Found: Few(refused)}
	if form.Rows = int64(len(refused)); form.Rows > 0 {
		form.State, form.Message = job.Fails, Share(form.Rows, form.Of)+" refused"
	}
	turns := &job.Proof{Name: job.ProofTurns, Data: field, State: job.Proven, Message: InOrder, Of: form.Of - form.Rows, Found: Few(odd)}
	switch turns.Rows = int64(len(odd)); {
	case turns.Of == 0:
		turns.State, turns.Message = job.Unproven, "no row came so far"
	case turns.Rows > 0:
		turns.State, turns.Message = job.Advice, Share(turns.Rows, turns.Of)+" "+OutOfOrder
	}
	return set, []*job.Proof{form, turns}, nil
}

// checks is what a training refuses a row for without a tokenizer; an error where it reads no rows of this format, or where rewards
// compare with a column that is not there.
func checks(c *schemas.VetRows, d *dataset.Dataset) (checking, error) {
	h := &d.Header
	switch c.Kind {
	case "train.sft":
		loss := (&schemas.TrainSFT{Loss: c.Loss}).LossOf(string(h.Format))
		return func(row dataset.Row) error { return checkTaught(h, row, loss) }, errors.Join(Wants(c.Kind, h.Format, Taught...), Trains(loss, h.Format))
	case "train.dpo":
		roles, err := AnswerRoles(h.Format, c.Loss == schemas.KTO)
		return func(row dataset.Row) error { return checkAnswers(h, row, roles) }, err
	case "train.grpo":
		return func(row dataset.Row) error {
			if err := checkPrompt(h, row); err != nil {
				return err
			}
			return errors.Join(Empty("prompt", h.Get(row, PromptRole(h.Format))), Compares(h, row, c.Reads))
		}, errors.Join(Wants(c.Kind, h.Format, WithPrompt...), Comparable(d, c.Reads))
	}
	return func(row dataset.Row) error { return checkTaught(h, row, chat.LossAll) }, Wants(c.Kind, h.Format, dataset.Text)
}

// suiteChecks is checks of the rows of suites.
func suiteChecks(s schemas.VetSuite, d *dataset.Dataset) (checking, error) {
	h := &d.Header
	return func(row dataset.Row) error {
		if s.Taught {
			if err := checkTaught(h, row, MeasuredLoss(h.Format)); err != nil {
				return err
			}
		}
		if s.Asked {
			if err := checkPrompt(h, row); err != nil {
				return err
			}
		}
		return Compares(h, row, s.Reads)
	}, SuiteWants(s, d)
}

// SuiteWants refuses a dataset that suites cannot use: of another format, or without a column that graders compare with.
func SuiteWants(s schemas.VetSuite, d *dataset.Dataset) error {
	err := Comparable(d, s.Reads)
	if s.Taught {
		err = errors.Join(Wants("perplexity", d.Format, Taught...), err)
	}
	return err
}

// MeasuredLoss says which tokens of rows a perplexity is of.
func MeasuredLoss(f dataset.Format) string {
	if f == dataset.Messages {
		return chat.LossAssistant
	}
	return (&schemas.TrainSFT{}).LossOf(string(f))
}

// Comparable refuses a dataset without one of the columns that graders compare with.
func Comparable(d *dataset.Dataset, columns []string) (err error) {
	for _, column := range columns {
		err = errors.Join(err, d.Answerable(column))
	}
	return err
}

// Compares refuses a row without what graders compare with.
func Compares(h *dataset.Header, row dataset.Row, columns []string) error {
	for _, column := range columns {
		if _, err := h.Answer(row, column); err != nil {
			return err
		}
	}
	return nil
}

// checkTaught is of a row whose own words are looked at: those that the loss trains are to be there.
func checkTaught(h *dataset.Header, row dataset.Row, loss string) error {
	r, err := chat.NewRow(func(role string) ordjson.Value { return h.Get(row, role) })
	if err == nil {
		err = r.Check()
	}
	if err != nil || loss != chat.LossAssistant || r.Kind != chat.Conversation && r.Kind != chat.PromptedConversation {
		return err
	}
	if !slices.ContainsFunc(slices.Concat(r.Messages, r.Completion), func(m chat.Message) bool { return roleOf(m) == "assistant" }) {
		return fmt.Errorf("no assistant turn: %w", chat.ErrNothing)
	}
	return nil
}

// checkAnswers is of a row with a prompt and answers to it.
func checkAnswers(h *dataset.Header, row dataset.Row, roles []string) error {
	if err := Empty("prompt", h.Get(row, "prompt")); err != nil {
		return err
	}
	var answers [][]byte
	for _, role := range roles {
		if err := Empty(role, h.Get(row, role)); err != nil {
			return err
		}
		r, err := AnswerRow(h, row, role)
		if err == nil {
			err = r.Check()
		}
		if err != nil {
			return err
		}
		answers = append(answers, ordjson.Append(nil, h.Get(row, role)))
	}
	if len(answers) == 2 && bytes.Equal(answers[0], answers[1]) {
		return errors.New("chosen and rejected are the same")
	}
	return nil
}

// checkPrompt is of a row that is to be answered. A last turn of the assistant is no part of its prompt.
func checkPrompt(h *dataset.Header, row dataset.Row) error {
	role := PromptRole(h.Format)
	v := h.Get(row, role)
	if _, text := v.(string); !text {
		messages, err := chat.Messages(v)
		if err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
		if n := len(messages); roleOf(messages[n-1]) == "assistant" {
			messages = messages[:n-1]
		}
		if len(messages) == 0 {
			return errors.New("no turn before the assistant's")
		}
	}
	return nil
}

// What ProofTurns says of rows.
const (
	InOrder    = "none is empty, and their order is what templates print"
	OutOfOrder = "are empty in part, or have an order that templates may refuse"
)

// Odd is what is unusual about the turns of a row that training takes: the first that is empty, that follows one of the same role, or
// whose role is not among those that templates print; "" where there is nothing.
func Odd(h *dataset.Header, row dataset.Row) string {
	before := ""
	for _, role := range h.Format.Roles() {
		switch v := h.Get(row, role).(type) {
		case string:
			if v == "" {
				return role + " is empty"
			}
		case []ordjson.Value:
			last := before // chosen and rejected both follow the prompt
			for i, turn := range v {
				var what string
				if what, last = oddTurn(turn, last); what != "" {
					return fmt.Sprintf("%s[%d]: %s", role, i, what)
				}
			}
			if role == "prompt" {
				before = last
			}
		}
	}
	return ""
}

// oddTurn is what is unusual about a turn after one of a role, and its own role.
func oddTurn(v ordjson.Value, before string) (what, role string) {
	m, ok := v.(*ordjson.Object)
	if !ok {
		return "", before // told by what reads messages
	}
	role = roleOf(m)
	content, has := m.Get("content")
	text, plain := content.(string)
	switch {
	case has && plain && text == "" && m.Len() == 2:
		return "an empty turn of the " + role, role
	case role == "system", role == "developer":
		if before != "" && before != "system" && before != "developer" {
			return "a turn of the " + role + " that is not the first", role
		}
	case role == "assistant":
		if before == "" || before == "system" || before == "developer" {
			return "the assistant speaks first", role
		}
		if before == "assistant" {
			return "the assistant after the assistant", role
		}
	case role == "user":
		if before == "user" {
			return "the user after the user", role
		}
	case role != "tool" && role != "function" && role != "ipython":
		return fmt.Sprintf("the role %q: templates print system, user, assistant and tool", role), role
	}
	return "", role
}

// Few names of rows of which the same is to be said the first and counts the others, where there are more than three.
func Few(found []*job.Found) []*job.Found {
	const alike = 3
	of := map[string][]*job.Found{}
	var order []string
	for _, f := range found {
		if of[f.Message] == nil {
			order = append(order, f.Message)
		}
		of[f.Message] = append(of[f.Message], f)
	}
	var named []*job.Found
	for _, message := range order {
		same := of[message]
		if len(same) > alike {
			same[0].More = int64(len(same) - 1)
			same = same[:1]
		}
		named = append(named, same...)
	}
	return named[:min(len(named), maxFound)]
}
