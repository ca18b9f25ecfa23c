package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/hone-ml/hone/internal/ordjson"
)

// maxLine bounds a line of a text file: a file without line ends must not fill the memory.
const maxLine = 64 << 20

var (
	bom     = []byte("\xef\xbb\xbf")
	utf16LE = []byte("\xff\xfe")
	utf16BE = []byte("\xfe\xff")
)

// skipBOM drops UTF-8's byte order mark and refuses UTF-16's.
func skipBOM(b *bufio.Reader) error {
	head, _ := b.Peek(3)
	if bytes.HasPrefix(head, utf16LE) || bytes.HasPrefix(head, utf16BE) {
		return errors.New("UTF-16; write the file in UTF-8")
	}
	if bytes.HasPrefix(head, bom) {
		_, _ = b.Discard(len(bom)) // what was peeked is there
	}
	return nil
}

// lines calls f with the number from 1 and the text of each line, without its end (LF or CRLF), until it returns false.
func lines(in io.Reader, f func(n int, line []byte) bool) error {
	b := bufio.NewReaderSize(in, 1<<20)
	if err := skipBOM(b); err != nil {
		return err
	}
	var long []byte
	for n := 1; ; n++ {
		long = long[:0]
		var line []byte
		for {
			part, err := b.ReadSlice('\n')
			if err == nil || err == io.EOF {
				if line = part; len(long) > 0 {
					long = append(long, part...)
					line = long
				}
				if err == io.EOF && len(line) == 0 {
					return nil
				}
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return err
			}
			if long = append(long, part...); len(long) > maxLine {
				return fmt.Errorf("line %d is longer than %d MiB", n, maxLine>>20)
			}
		}
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if !f(n, line) {
			return nil
		}
	}
}

// readJSONL reads an object a line; lines of white space count but are no rows.
func readJSONL(in io.Reader, r *reader) error {
	return lines(in, func(n int, line []byte) bool {
		if len(bytes.TrimSpace(line)) == 0 {
			return true
		}
		row, err := parseRow(line)
		return r.row(fmt.Sprintf("%s:%d", r.name, n), row, err)
	})
}

func parseRow(b []byte) (Row, error) {
	v, err := ordjson.Parse(b)
	if err != nil {
		return nil, err
	}
	return asRow(v)
}

func asRow(v Value) (Row, error) {
	row, ok := v.(Row)
	if !ok {
		return nil, fmt.Errorf("%s is no row: a row is an object", ordjson.Short(v))
	}
	if _, ok := row.Get(""); ok {
		return nil, errors.New("a column has no name")
	}
	if _, err := ordjson.Normalize(row); err != nil {
		return nil, err
	}
	return row, nil
}

// readLines reads plain text: a line is a row with the column text, as Hugging Face's text loader reads it.
// Empty lines are no rows.
func readLines(in io.Reader, r *reader) error {
	return lines(in, func(n int, line []byte) bool {
		if len(line) == 0 {
			return true
		}
		where := fmt.Sprintf("%s:%d", r.name, n)
		if !utf8.Valid(line) {
			return r.row(where, nil, errors.New("invalid UTF-8"))
		}
		return r.row(where, ordjson.New(ordjson.Member{Key: "text", Value: string(line)}), nil)
	})
}

// readJSON reads a list of objects, an object whose field data is such a list, one object, or objects one after
// another, as many files named .json are.
func readJSON(in io.Reader, r *reader) error {
	b := bufio.NewReaderSize(in, 1<<20)
	if err := skipBOM(b); err != nil {
		return err
	}
	d := ordjson.NewDecoder(b)
	if d.Peek() == '[' {
		return readList(d, r)
	}
	if d.Peek() != '{' {
		_, err := d.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.New("neither a list of rows nor rows one after another")
	}
	for n := 1; ; n++ {
		v, err := d.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("row %d: %w", n, err)
		}
		if n == 1 {
			if list, ok := dataOf(v); ok && d.Peek() == 0 {
				return eachRow(list, r)
			}
		}
		row, bad := asRow(v)
		if !r.row(fmt.Sprintf("%s: row %d", r.name, n), row, bad) {
			return nil
		}
	}
}

func readList(d *ordjson.Decoder, r *reader) error {
	if err := d.Open(); err != nil {
		return err
	}
	n := 0
	for d.Peek() != ']' {
		n++
		v, err := d.Next()
		if err != nil {
			return fmt.Errorf("row %d: %w", n, endsEarly(err))
		}
		row, err := asRow(v)
		if !r.row(fmt.Sprintf("%s: row %d", r.name, n), row, err) {
			return nil
		}
	}
	if err := d.Close(); err != nil {
		return endsEarly(err)
	}
	if _, err := d.Next(); err != io.EOF {
		return errors.New("text after the list of rows")
	}
	return nil
}

func endsEarly(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // a wrapped one is of what is read, as a cut gzip stream
		return errors.New("the file ends in the middle of a list")
	}
	return err
}

// dataOf returns the list of objects in the field data of an object.
func dataOf(v Value) ([]Value, bool) {
	o, ok := v.(*ordjson.Object)
	if !ok {
		return nil, false
	}
	data, _ := o.Get("data")
	list, ok := data.([]Value)
	if !ok || len(list) == 0 {
		return nil, false
	}
	_, ok = list[0].(*ordjson.Object)
	return list, ok
}

func eachRow(list []Value, r *reader) error {
	for i, v := range list {
		row, err := asRow(v)
		if !r.row(fmt.Sprintf("%s: row %d", r.name, i+1), row, err) {
			return nil
		}
	}
	return nil
}
