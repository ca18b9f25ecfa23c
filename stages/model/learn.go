package model

import (
	"maps"
	"slices"

	"github.com/hone-ml/hone/internal/chat"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/ordjson"
)

// lesson is the form of rows that train on answers: messages where the model saw the prompt as a conversation, prompt and
// completion where it did so in rows of that format, or saw text as it stands. Other columns stay, and so do the roles answer
// and tools.
type lesson struct {
	format    dataset.Format
	roles     map[dataset.Role]string
	from      *dataset.Dataset
	answering []string // columns that held the row's own prompt and answer
}

// lessons is the form for answers to a dataset's prompts.
func lessons(d *dataset.Dataset) *lesson {
	format := dataset.PromptCompletion
	if d.Format == dataset.Messages || d.Format == dataset.Prompt {
		format = dataset.Messages
	}
	return newLesson(d, format)
}

func newLesson(d *dataset.Dataset, format dataset.Format) *lesson {
	l := &lesson{format: format, roles: map[dataset.Role]string{}, from: d}
	for _, role := range []dataset.Role{"answer", "tools"} {
		if column, ok := d.Columns[role]; ok {
			l.roles[role] = column
		}
	}
	for _, role := range format.Roles() {
		l.roles[role] = role
		if column, ok := d.Columns[role]; ok {
			l.roles[role] = column
		}
	}
	for _, role := range d.Format.Roles() {
		if column := d.Columns[role]; !slices.Contains(slices.Collect(maps.Values(l.roles)), column) && role != "prompt" {
			l.answering = append(l.answering, column)
		}
	}
	return l
}

// create begins the dataset of a port; columns join those that stay.
func (l *lesson) create(dir string, columns ...string) (*dataset.Writer, error) {
	var names []string
	for _, name := range l.from.Names() {
		if !slices.Contains(l.answering, name) {
			names = append(names, name)
		}
	}
	for _, role := range l.format.Roles() {
		if name := l.roles[role]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return dataset.Create(dir, l.format, l.roles, append(names, columns...)...)
}

// row is the prompt's row with the prompt as the model saw it, and answers by role.
func (l *lesson) row(p *prompt, shown ordjson.Value, answers map[dataset.Role]string) dataset.Row {
	row := p.from.Clone()
	for _, name := range l.answering {
		row.Delete(name)
	}
	turns, conversation := shown.([]ordjson.Value)
	if l.format == dataset.Messages {
		row.Set(l.roles["messages"], append(slices.Clone(turns), chat.Turn("assistant", answers["completion"])))
		return row
	}
	row.Set(l.roles["prompt"], shown)
	for role, text := range answers {
		if column, ok := l.roles[role]; ok && conversation {
			row.Set(column, []ordjson.Value{chat.Turn("assistant", text)})
		} else if ok {
			row.Set(column, text)
		}
	}
	return row
}
