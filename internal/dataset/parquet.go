package dataset

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/parquet-go/parquet-go"

	"github.com/hone-ml/hone/internal/ordjson"
)

// parquetFile is a Parquet file open for reading.
type parquetFile struct {
	f       io.ReaderAt
	size    int64
	file    *parquet.File
	columns []*node
	close   func()
	starts  []int64 // row at which each row group begins, and the number of rows at the end
}

// maxRows bounds a file whose columns are all one repeated value and so take no space.
const maxRows = 1 << 32

func openParquet(name string, p policy) (*parquetFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	pf, err := newParquet(f, info.Size(), p)
	if err != nil {
		f.Close()
		return nil, err
	}
	pf.close = func() { f.Close() }
	return pf, nil
}

func newParquet(f io.ReaderAt, size int64, p policy) (_ *parquetFile, err error) {
	defer guard(&err)
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.FileReadMode(parquet.ReadModeSync))
	if err != nil {
		return nil, err
	}
	pf := &parquetFile{f: f, size: size, file: file, starts: []int64{0}, close: func() {}}
	for i := range file.Metadata().RowGroups {
		rows := file.Metadata().RowGroups[i].NumRows
		total := pf.starts[i] + rows
		if rows < 0 || total < 0 || total > maxRows {
			return nil, fmt.Errorf("row group %d claims %d rows", i, rows)
		}
		pf.starts = append(pf.starts, total)
	}
	return pf, pf.plan(p)
}

// plan makes the nodes of the file's top-level columns.
func (pf *parquetFile) plan(p policy) error {
	elements := pf.file.Metadata().Schema
	if len(elements) == 0 {
		return errors.New("no schema")
	}
	at, leaf := 1, 0
	for range int(elements[0].NumChildren.V) {
		if at >= len(elements) {
			return errShape
		}
		name := elements[at].Name
		if name == "" {
			return errors.New("a column has no name")
		}
		n, end, err := build(elements, at, 0, 0, leaf, name, p)
		if err != nil {
			return err
		}
		at, leaf = end, n.last
		pf.columns = append(pf.columns, n)
	}
	return nil
}

func (pf *parquetFile) rows() int64 { return pf.starts[len(pf.starts)-1] }

func (pf *parquetFile) names() []string {
	names := make([]string, len(pf.columns))
	for i, c := range pf.columns {
		names[i] = c.name
	}
	return names
}

// group yields the rows of a row group. A row that cannot be read is an error beside a nil row, and the next follows;
// any other error is the last.
func (pf *parquetFile) group(i int) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		stopped := false
		err := pf.readGroup(i, func(row Row, err error) bool {
			stopped = !yield(row, err)
			return !stopped
		})
		if err != nil && !stopped {
			yield(nil, &fatalError{err})
		}
	}
}

// fatalError ends the reading of a file, where a plain error is one row's.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func (pf *parquetFile) readGroup(i int, yield func(Row, error) bool) (err error) {
	if pf.starts[i+1] == pf.starts[i] { // Arrow writes such a group for an empty table, whose columns begin at byte 0
		return nil
	}
	if err := pf.checkGroup(i); err != nil {
		return fmt.Errorf("row group %d: %w", i, err)
	}
	rows, err := pf.openGroup(i)
	if err != nil {
		return fmt.Errorf("row group %d: %w", i, err)
	}
	defer rows.Close()
	buffer := make([]parquet.Row, 64)
	want := pf.starts[i+1] - pf.starts[i]
	var columns [][]parquet.Value
	for done := int64(0); done < want; {
		n, err := readRows(rows, buffer)
		for _, r := range buffer[:n] {
			done++
			columns = columns[:0]
			r.Range(func(_ int, values []parquet.Value) bool {
				columns = append(columns, values)
				return true
			})
			if !yield(pf.assemble(columns)) {
				return nil
			}
		}
		ended := err == io.EOF //nolint:errorlint // a wrapped one tells of damage
		if ended && done < want {
			return fmt.Errorf("row group %d: %d rows of %d", i, done, want)
		}
		if err != nil && !ended {
			return fmt.Errorf("row group %d: %w", i, err)
		}
		if n == 0 && done < want {
			return fmt.Errorf("row group %d: no row after %d of %d", i, done, want)
		}
	}
	return nil
}

func (pf *parquetFile) openGroup(i int) (rows parquet.Rows, err error) {
	defer guard(&err)
	return pf.file.RowGroups()[i].Rows(), nil
}

// readRows is rows.ReadRows with the library's panics on broken pages as errors. Only its calls are guarded: a panic
// of whoever consumes the rows is no fault of the file's.
func readRows(rows parquet.Rows, buffer []parquet.Row) (n int, err error) {
	defer guard(&err)
	return rows.ReadRows(buffer)
}

func guard(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("broken Parquet file: %v", r)
	}
}

func (pf *parquetFile) checkGroup(i int) (err error) {
	defer guard(&err)
	group := &pf.file.Metadata().RowGroups[i]
	leaves := pf.file.Root()
	at := 0
	var check func(c *parquet.Column) error
	check = func(c *parquet.Column) error {
		if !c.Leaf() {
			for _, child := range c.Columns() {
				if err := check(child); err != nil {
					return err
				}
			}
			return nil
		}
		if at >= len(group.Columns) {
			return errShape
		}
		rows := int64(-1)
		if c.MaxRepetitionLevel() == 0 {
			rows = group.NumRows
		}
		meta := &group.Columns[at].MetaData
		at++
		return checkChunk(pf.f, pf.size, meta, c.MaxDefinitionLevel(), c.MaxRepetitionLevel(), rows)
	}
	return check(leaves)
}

// assemble makes a row of its leaf columns' values.
func (pf *parquetFile) assemble(columns [][]parquet.Value) (row Row, err error) {
	defer guard(&err)
	row = ordjson.New()
	for _, n := range pf.columns {
		if n.unreadable != "" {
			continue
		}
		if n.last > len(columns) {
			return nil, errShape
		}
		v, err := n.value(columns[n.first:n.last])
		if err != nil {
			return nil, err
		}
		row.Set(n.name, v)
	}
	return row, nil
}
