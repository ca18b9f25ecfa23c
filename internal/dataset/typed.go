package dataset

import (
	"iter"
	"slices"
)

// Typed gives roles to the source's columns, as Detect does, and yields its rows as a dataset holds them: with a prompt of their own,
// and checked. A row that is refused is a *RowError, as of Rows.
func (s *Source) Typed(columns []string, mapped map[Role]string) (*Header, iter.Seq2[Record, error], error) {
	format, roles, err := Detect(columns, mapped)
	if err != nil {
		return nil, nil, err
	}
	s.Roles = map[string]bool{}
	for _, column := range roles {
		s.Roles[column] = true
	}
	h := &Header{Format: format, Columns: roles}
	implicit := format == Preference && !slices.Contains(columns, roles["prompt"])
	return h, func(yield func(Record, error) bool) {
		for record, err := range s.Rows() {
			if err == nil {
				if implicit {
					err = h.ExtractPrompt(record.Row)
				}
				if err == nil {
					err = h.Check(record.Row)
				}
				if err != nil {
					err = &RowError{Where: record.Where, Err: err}
				}
			}
			if !yield(record, err) {
				return
			}
		}
	}, nil
}

// Side is the rows of a source as data.load reads them, to be compared. One that it would refuse ends them.
func (s *Source) Side(mapped map[Role]string) (Side, error) {
	columns, err := s.Columns()
	if err != nil {
		return Side{}, err
	}
	header, records, err := s.Typed(columns, mapped)
	if err != nil {
		return Side{}, err
	}
	return Side{*header, columns, func(yield func(Row, error) bool) {
		for record, err := range records {
			if !yield(record.Row, err) || err != nil {
				return
			}
		}
	}}, nil
}
