package dataset

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
)

// Dataset is an artifact open for reading. It is not safe for concurrent use.
type Dataset struct {
	Header
	file   *parquetFile
	memory []Row  // all rows, once Row was called
	spool  *spool // or that
	limit  int    // spillBytes
}

// Open opens the artifact in the folder dir.
func Open(dir string) (*Dataset, error) {
	h, err := readHeader(dir)
	if err != nil {
		return nil, err
	}
	file, err := openParquet(filepath.Join(dir, dataFile), policy{
		json:      func(path string) bool { return slices.Contains(h.JSON, path) },
		keepNulls: func(path string) bool { return slices.Contains(h.Nulls, path) },
		binary:    never,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, dataFile), err)
	}
	d := &Dataset{Header: *h, file: file, limit: spillBytes}
	if err := d.check(); err != nil {
		d.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, dataFile), err)
	}
	return d, nil
}

// Limit leaves the first n rows. It comes before any is read.
func (d *Dataset) Limit(n int64) { d.Rows = min(d.Rows, n) }

func (d *Dataset) check() error {
	if d.file.rows() != d.Rows {
		return fmt.Errorf("%d rows where %s says %d", d.file.rows(), headerFile, d.Rows)
	}
	names := d.Names()
	for _, role := range d.sortedRoles() {
		if !slices.Contains(names, d.Columns[role]) {
			return fmt.Errorf("no column %q for %s", d.Columns[role], role)
		}
	}
	return nil
}

// Close frees the files.
func (d *Dataset) Close() {
	d.file.close()
	if d.spool != nil {
		d.spool.close()
	}
}

// Names returns the names of the columns in order.
func (d *Dataset) Names() []string { return d.file.names() }

// All yields the rows in order. Memory is bounded by a page a column. The rows are the
// caller's. An error is the last thing that is yielded.
func (d *Dataset) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		at := 0
		for i := range len(d.file.starts) - 1 {
			for row, err := range d.file.group(i) {
				if at++; int64(at) > d.Rows {
					return
				}
				if err != nil {
					yield(nil, d.rowError(err, at))
					return
				}
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

func (d *Dataset) rowError(err error, row int) error {
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return fmt.Errorf("%s: %w", dataFile, err)
	}
	return &RowError{fmt.Sprintf("%s: row %d", dataFile, row), err}
}

// Row returns the row of this index, from 0, in any order. The first call reads all rows: into memory where they are
// few, else into a temporary file from which each row is then read in some microseconds. Rows may be shared with later
// calls: read only.
func (d *Dataset) Row(index int64) (Row, error) {
	if index < 0 || index >= d.Rows {
		return nil, fmt.Errorf("row %d of %d", index, d.Rows)
	}
	if d.memory == nil && d.spool == nil {
		if err := d.load(); err != nil {
			return nil, err
		}
	}
	if d.spool != nil {
		return d.spool.row(index)
	}
	return d.memory[index], nil
}

// load reads all rows. Their size is known only then, so it begins in memory.
func (d *Dataset) load() (err error) {
	bytes := 0
	rows := []Row{}
	var s *spool
	defer func() {
		if err != nil && s != nil {
			s.close()
		}
	}()
	for row, err := range d.All() {
		if err != nil {
			return err
		}
		rows = append(rows, row)
		if bytes += size(row); bytes < d.limit {
			continue
		}
		if s == nil {
			if s, err = newSpool(""); err != nil {
				return err
			}
		}
		for _, row := range rows {
			if err := s.add(row); err != nil {
				return err
			}
		}
		rows = rows[:0]
	}
	if s == nil {
		d.memory = rows
		return nil
	}
	for _, row := range rows {
		if err := s.add(row); err != nil {
			return err
		}
	}
	d.spool = s
	return s.flush()
}
