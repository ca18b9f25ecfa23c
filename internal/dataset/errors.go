package dataset

import (
	"errors"
	"fmt"
	"strings"
)

// RowError is what is wrong with one row.
type RowError struct {
	Where string // data/train.jsonl:812, data/train.parquet: row 812
	Err   error
}

func (e *RowError) Error() string { return e.Where + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *RowError) Unwrap() error { return e.Err }

// named is how many mistakes an error names; it counts the others. Rows beyond alike that make the same one are counted too.
const named, alike = 10, 3

// BadRows collects what is wrong with rows, so that a user sees all of it at once. The zero BadRows has none.
type BadRows struct {
	mistakes []*mistake
	of       map[string]*mistake // by what is said
	unnamed  int64
}

// mistake is what is said of several rows in the same words.
type mistake struct {
	first []error
	rows  int64
}

// Add takes one bad row.
func (b *BadRows) Add(err error) {
	text := err.Error()
	if row := (*RowError)(nil); errors.As(err, &row) {
		text = strings.Replace(text, row.Where, "", 1)
	}
	m := b.of[text]
	if m == nil {
		if len(b.mistakes) == named {
			b.unnamed++
			return
		}
		if b.of == nil {
			b.of = map[string]*mistake{}
		}
		m = &mistake{}
		b.of[text] = m
		b.mistakes = append(b.mistakes, m)
	}
	if m.rows++; len(m.first) < alike {
		m.first = append(m.first, err)
	}
}

// Err returns nil where no row is bad, else one error that names the first of them, a line each.
func (b *BadRows) Err() error {
	if len(b.mistakes) == 0 {
		return nil
	}
	return b
}

func (b *BadRows) Error() string {
	var lines []string
	for _, m := range b.mistakes {
		if m.rows > alike {
			lines = append(lines, fmt.Sprintf("%v (the same in %d more rows)", m.first[0], m.rows-1))
			continue
		}
		for _, err := range m.first {
			lines = append(lines, err.Error())
		}
	}
	if b.unnamed > 0 {
		lines = append(lines, fmt.Sprintf("and %d more bad row%s", b.unnamed, map[bool]string{false: "s"}[b.unnamed == 1]))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors that are named.
func (b *BadRows) Unwrap() []error {
	var all []error
	for _, m := range b.mistakes {
		all = append(all, m.first...)
	}
	return all
}
