package dataset

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/hone-ml/hone/internal/ordjson"
)

// Row groups are small, since reading one row decodes the group around it.
const (
	groupRows  = 4096
	groupBytes = 4 << 20 // of text, about
)

// spillBytes is how much of the rows, about, a Writer holds in memory. Beyond it they wait in a file.
const spillBytes = 64 << 20

// Writer makes a dataset in a folder. It holds rows back until Close, since only all of them tell the columns'
// types; its memory is bounded by a temporary file in that folder.
// A Writer is not safe for concurrent use.
type Writer struct {
	dir    string
	header Header
	schema *schema
	rows   []Row // not yet in the spill file
	bytes  int   // of rows, about
	spill  *spool
	limit  int // spillBytes
}

// Create begins a dataset in the folder dir, which exists. Format and roles are those of its rows; columns, where
// given, come first in this order, and are there even where no row has them.
func Create(dir string, format Format, roles map[Role]string, columns ...string) (*Writer, error) {
	h := Header{Format: format, Columns: roles}
	if err := h.check(); err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, header: h, schema: newSchema(&h), limit: spillBytes}
	for _, name := range columns {
		w.schema.column(name)
	}
	return w, nil
}

// Write adds a row, which must not be changed afterwards.
func (w *Writer) Write(row Row) error {
	if _, ok := row.Get(""); ok {
		return errors.New("a column has no name")
	}
	w.schema.add(row)
	w.header.Rows++
	w.rows = append(w.rows, row)
	if w.bytes += size(row); w.bytes > w.limit {
		return w.spillRows()
	}
	return nil
}

// Rows returns how many rows were written.
func (w *Writer) Rows() int64 { return w.header.Rows }

// size is about how many bytes of text v has.
func size(v Value) int {
	n := 8
	switch v := v.(type) {
	case string:
		n += len(v)
	case []Value:
		for _, e := range v {
			n += size(e)
		}
	case *ordjson.Object:
		for _, m := range v.Members() {
			n += len(m.Key) + size(m.Value)
		}
	}
	return n
}

func (w *Writer) spillRows() (err error) {
	if w.spill == nil {
		if w.spill, err = newSpool(w.dir); err != nil {
			return err
		}
	}
	for _, row := range w.rows {
		if err := w.spill.add(row); err != nil {
			return err
		}
	}
	clear(w.rows)
	w.rows, w.bytes = w.rows[:0], 0
	return nil
}

// Close writes data.parquet and dataset.json. Without it the folder holds nothing that can be opened.
func (w *Writer) Close() (err error) {
	defer w.Discard()
	for _, column := range w.header.Columns {
		w.schema.column(column)
	}
	w.header.JSON, w.header.Nulls = w.schema.special()
	f, err := os.OpenFile(filepath.Join(w.dir, dataFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := w.writeParquet(f); err != nil {
		return fmt.Errorf("%s: %w", dataFile, err)
	}
	return writeHeader(w.dir, &w.header)
}

// Discard frees what the Writer holds. After Close it does nothing.
func (w *Writer) Discard() {
	if w.spill != nil {
		w.spill.close()
	}
	w.spill, w.rows = nil, nil
}

func (w *Writer) writeParquet(to io.Writer) error {
	out := parquet.NewWriter(to, w.schema.parquetSchema(),
		parquet.Compression(&zstd.Codec{Level: zstd.DefaultLevel, Concurrency: 1}),
		parquet.CreatedBy("hone", "1", "0"), // nothing that differs between two builds: the bytes are hashed
		parquet.DataPageVersion(1))
	encoder := newEncoder(w.schema)
	rows, bytes := 0, 0
	write := func(row Row) error {
		if _, err := out.WriteRows([]parquet.Row{encoder.encode(row)}); err != nil {
			return err
		}
		rows++
		if bytes += size(row); rows < groupRows && bytes < groupBytes {
			return nil
		}
		rows, bytes = 0, 0
		return out.Flush()
	}
	if w.spill != nil {
		if err := w.spill.each(write); err != nil {
			return err
		}
	}
	for _, row := range w.rows {
		if err := write(row); err != nil {
			return err
		}
	}
	return out.Close()
}

// sortedRoles is for messages: a map has no order.
func (h *Header) sortedRoles() []Role {
	var roles []Role
	for role := range h.Columns {
		roles = append(roles, role)
	}
	slices.Sort(roles)
	return roles
}
