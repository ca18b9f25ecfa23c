package dataset

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/hone-ml/hone/internal/ordjson"
)

// readCSV reads RFC 4180: a header line, then a record a row; quoted fields may span lines. Every value is text, so
// that 007 stays 007 and an empty field is empty text. Check turns labels and messages into what they are.
func readCSV(in io.Reader, r *reader, comma rune) error {
	b := bufio.NewReaderSize(in, 1<<20)
	if err := skipBOM(b); err != nil {
		return err
	}
	in = &bounded{r: b}
	c := csv.NewReader(in)
	c.Comma = comma
	c.FieldsPerRecord = -1 // counted here, so that one bad row does not hide the next
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return nil
	}
	if err != nil {
		return err
	}
	names := append([]string(nil), header...)
	seen := map[string]bool{}
	for i, name := range names {
		if !utf8.ValidString(name) {
			return errors.New("header: invalid UTF-8")
		}
		if name == "" && i == 0 {
			names[i] = "index" // what pandas' to_csv writes first
		} else if name == "" {
			return fmt.Errorf("header: column %d has no name", i+1)
		}
		if seen[names[i]] {
			return fmt.Errorf("header: two columns are named %s", names[i])
		}
		seen[names[i]] = true
	}
	for {
		in.(*bounded).since = 0
		record, err := c.Read()
		if err == io.EOF {
			return nil
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) && errors.Is(err, csv.ErrQuote) {
			return fmt.Errorf("line %d: %w", syntax.StartLine, syntax.Err) // where the next row begins is unknown
		}
		var line int
		if errors.As(err, &syntax) {
			line = syntax.StartLine
		} else if err != nil {
			return err
		} else {
			line, _ = c.FieldPos(0)
		}
		row, bad := csvRow(names, record, err)
		if !r.row(fmt.Sprintf("%s:%d", r.name, line), row, bad) {
			return nil
		}
	}
}

func csvRow(names, record []string, err error) (Row, error) {
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if len(record) != len(names) {
		return nil, fmt.Errorf("%d fields where the header has %d", len(record), len(names))
	}
	row := ordjson.New()
	for i, field := range record {
		if !utf8.ValidString(field) {
			return nil, fmt.Errorf("column %s: invalid UTF-8", names[i])
		}
		row.Set(names[i], strings.Clone(field))
	}
	return row, nil
}

// bounded fails where one record takes more than maxLine bytes: a quote that is never closed would hold the whole
// rest of the file in memory.
type bounded struct {
	r     io.Reader
	since int // bytes since the last record
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.since += n; b.since > maxLine {
		return 0, fmt.Errorf("a record is longer than %d MiB; is a quote left open?", maxLine>>20)
	}
	return n, err
}
