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
	file  *parquetFile
	cache []cached // decoded row groups, the newest last
}

type cached struct {
	group int
	rows  []Row
}

// cachedGroups is how many decoded row groups Row holds: some 10 MB each.
const cachedGroups = 4

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
	d := &Dataset{Header: *h, file: file}
	if err := d.check(); err != nil {
		d.Close()
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, dataFile), err)
	}
	return d, nil
}

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
func (d *Dataset) Close() { d.file.close() }

// Names returns the names of the columns in order.
func (d *Dataset) Names() []string { return d.file.names() }

// All yields the rows in order. Memory is bounded by a page a column. The rows are the
// caller's. An error is the last thing that is yielded.
func (d *Dataset) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		at := 0
		for i := range len(d.file.starts) - 1 {
			for row, err := range d.file.group(i) {
				at++
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

// Row returns the row of this index, from 0. It decodes the row group around it, at most 4,096 rows, and holds the
// last few groups, so neighbours are cheap and a shuffled read costs some milliseconds a row. Rows are shared with
// later calls: read only.
func (d *Dataset) Row(index int64) (Row, error) {
	if index < 0 || index >= d.Rows {
		return nil, fmt.Errorf("row %d of %d", index, d.Rows)
	}
	group, found := slices.BinarySearch(d.file.starts, index)
	if !found {
		group--
	}
	for group+1 < len(d.file.starts) && d.file.starts[group+1] == index { // groups without rows
		group++
	}
	rows, err := d.group(group)
	if err != nil {
		return nil, err
	}
	return rows[index-d.file.starts[group]], nil
}

func (d *Dataset) group(i int) ([]Row, error) {
	for at, c := range d.cache {
		if c.group == i {
			d.cache = append(slices.Delete(d.cache, at, at+1), c)
			return c.rows, nil
		}
	}
	if len(d.cache) == cachedGroups {
		d.cache = slices.Delete(d.cache, 0, 1)
	}
	var rows []Row
	for row, err := range d.file.group(i) {
		if err != nil {
			return nil, d.rowError(err, int(d.file.starts[i])+len(rows)+1)
		}
		rows = append(rows, row)
	}
	d.cache = append(d.cache, cached{i, rows})
	return rows, nil
}
