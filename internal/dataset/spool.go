package dataset

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/hone-ml/hone/internal/ordjson"
)

// spool is rows in a temporary file, one after another or by index. The file has no name, so nothing is left of it
// however the process ends.
type spool struct {
	f      *os.File
	w      *bufio.Writer
	starts []int64 // offset of each row, and the end
	line   []byte
}

// newSpool makes a spool in the folder dir, or the system's folder for temporary files where dir is empty.
func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".rows-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spool{f: f, w: bufio.NewWriterSize(f, 1<<20), starts: []int64{0}}, nil
}

func (s *spool) add(row Row) error {
	s.line = append(ordjson.Append(s.line[:0], row), '\n')
	s.starts = append(s.starts, s.starts[len(s.starts)-1]+int64(len(s.line)))
	_, err := s.w.Write(s.line)
	return err
}

// each calls f for every row in order.
func (s *spool) each(f func(Row) error) error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	if _, err := s.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d := ordjson.NewDecoder(bufio.NewReaderSize(s.f, 1<<20))
	for {
		v, err := d.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(v.(Row)); err != nil {
			return err
		}
	}
}

// row returns the row of this index, after flush.
func (s *spool) row(i int64) (Row, error) {
	b := make([]byte, s.starts[i+1]-s.starts[i])
	if _, err := s.f.ReadAt(b, s.starts[i]); err != nil {
		return nil, err
	}
	v, err := ordjson.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("temporary file of rows: %w", err)
	}
	return v.(Row), nil
}

func (s *spool) flush() error { return s.w.Flush() }

func (s *spool) close() { s.f.Close() }
