package runner

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/hone-ml/hone/runner/store"
)

// recordsHead is the first line of a file of records.
type recordsHead struct {
	Format  int    `json:"hone_records"`
	Version string `json:"version"` // of hone
}

const (
	recordsFormat = 1
	recordLine    = 8 << 20 // bytes of a line
)

// WriteRecords writes a file of records: JSON lines after a first one that says what they are. It has no paths of this machine.
func WriteRecords(w io.Writer, version string, records []*store.Record) error {
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(recordsHead{recordsFormat, version}); err != nil {
		return err
	}
	for _, r := range records {
		if err := lines.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// RecordsFile is records that another store had: enough to say what would be reused there.
type RecordsFile struct{ byKey map[string][]*store.Record }

// ReadRecords reads a file of records. Errors name the file and the line.
func ReadRecords(path string) (*RecordsFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file := &RecordsFile{map[string][]*store.Record{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, recordLine)
	n := 0
	for lines.Scan() {
		n++
		var err error
		if n == 1 {
			var head recordsHead
			if err = json.Unmarshal(lines.Bytes(), &head); err != nil || head.Format == 0 {
				return nil, fmt.Errorf("%s: not a file of records: hone show --records writes one", path)
			}
			if head.Format != recordsFormat {
				return nil, fmt.Errorf("%s: records of format %d; this hone reads %d", path, head.Format, recordsFormat)
			}
			continue
		}
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec store.Record
		if err = json.Unmarshal(lines.Bytes(), &rec); err == nil {
			err = CheckRecord(&rec)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		file.byKey[rec.Key] = append(file.byKey[rec.Key], &rec)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s: empty: hone show --records writes one", path)
	}
	return file, nil
}

// All is its records, the oldest first.
func (f *RecordsFile) All() []*store.Record {
	all := slices.Concat(slices.Collect(maps.Values(f.byKey))...)
	slices.SortFunc(all, func(a, b *store.Record) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Key, b.Key)) })
	return all
}

func (f *RecordsFile) Name() string { return "records" }

func (f *RecordsFile) Records(_ context.Context, key string) ([]*store.Record, error) {
	return f.byKey[key], nil
}

func (f *RecordsFile) Report(context.Context, string) ([]byte, error) { return nil, ErrOnlyRecords }
func (f *RecordsFile) Bring(context.Context, *store.Record) error     { return ErrOnlyRecords }
