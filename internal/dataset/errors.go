package dataset

import (
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

// named is how many bad rows an error names; it counts the others.
const named = 10

// BadRows collects what is wrong with rows, so that a user sees all of it at once. The zero BadRows has none.
type BadRows struct {
	first []error
	count int64
}

// Add takes one bad row.
func (b *BadRows) Add(err error) {
	if b.count++; len(b.first) < named {
		b.first = append(b.first, err)
	}
}

// Err returns nil where no row is bad, else one error that names the first of them, a line each.
func (b *BadRows) Err() error {
	if b.count == 0 {
		return nil
	}
	return b
}

func (b *BadRows) Error() string {
	lines := make([]string, 0, named+1)
	for _, err := range b.first {
		lines = append(lines, err.Error())
	}
	if more := b.count - int64(len(b.first)); more > 0 {
		rows := "rows"
		if more == 1 {
			rows = "row"
		}
		lines = append(lines, fmt.Sprintf("and %d more bad %s", more, rows))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors that are named.
func (b *BadRows) Unwrap() []error { return b.first }
