package dataset

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/ordjson"
)

// lines of JSON, a row a line.
func jsonLines(t testing.TB, s *Source) string {
	t.Helper()
	var b strings.Builder
	for r, err := range s.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(ordjson.Append(nil, r.Row), '\n'))
	}
	return b.String()
}

// Files that pyarrow and datasets wrote (bench/golden/files_parquet.py) hold the rows that Python put in.
func TestParquetOfArrow(t *testing.T) {
	files, err := filepath.Glob("testdata/parquet/*.parquet")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".parquet"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".parquet") + ".jsonl")
			if err != nil {
				t.Fatal(err)
			}
			warned := ""
			s := &Source{Path: file, Name: file, Roles: map[string]bool{"messages": true}, Warn: func(format string, args ...any) { warned += format }}
			if got := jsonLines(t, s); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if (warned != "") != (filepath.Base(file) == "types.parquet") {
				t.Errorf("warning %q", warned)
			}
		})
	}
}

// drain reads a file as a hostile one: rows or errors, never a panic, and not much memory.
func drain(b []byte) {
	pf, err := newParquet(bytes.NewReader(b), int64(len(b)), policy{json: never, keepNulls: never, binary: never})
	if err != nil {
		return
	}
	rows := 0
	for i := range len(pf.starts) - 1 {
		for range pf.group(i) {
			if rows++; rows > 10000 {
				return
			}
		}
	}
}

// Some 300 of the ways in which one byte can be wrong, and as many lengths; the fuzz target below tries others.
func TestBrokenParquet(t *testing.T) {
	for _, name := range []string{"chats-snappy", "chats-v2", "chats-lz4", "delta", "types"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, err := os.ReadFile("testdata/parquet/" + name + ".parquet")
			if err != nil {
				t.Fatal(err)
			}
			stride := len(whole)/300 + 1
			for at := 0; at < len(whole); at += stride {
				b := bytes.Clone(whole)
				b[at] ^= []byte{0xff, 0x01, 0x80}[at%3]
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				drain(b)
				drain(whole[:at])
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > 1<<30 {
					t.Errorf("byte %d: %d MiB allocated for a broken file of %d bytes", at, n>>20, len(whole))
				}
			}
		})
	}
}

func TestTruncatedParquet(t *testing.T) {
	whole, err := os.ReadFile("testdata/parquet/chats-snappy.parquet")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.parquet")
	for n, want := range map[int]string{0: "too short", len(whole) - 1: "truncated", len(whole) / 2: "truncated"} {
		if err := os.WriteFile(file, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := (&Source{Path: file, Name: "data/x.parquet"}).Columns()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "data/x.parquet: ") {
			t.Errorf("%d bytes: error %v, want one with %q", n, err, want)
		}
	}
}

// A row that is not UTF-8 is named, and the next rows are read.
func TestParquetBadRow(t *testing.T) {
	b, err := os.ReadFile("testdata/parquet/chats-none.parquet")
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, []byte("2+2?"), []byte("2+2\xff"), 1)
	file := filepath.Join(t.TempDir(), "x.parquet")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	var bad []string
	rows := 0
	for _, err := range (&Source{Path: file, Name: "x.parquet", Roles: map[string]bool{"messages": true}}).Rows() {
		var row *RowError
		if errors.As(err, &row) {
			bad = append(bad, err.Error())
		} else if err != nil {
			t.Fatal(err)
		}
		rows++
	}
	if rows != 3 || len(bad) != 1 || bad[0] != "x.parquet: row 2: column messages[].content: invalid UTF-8" {
		t.Errorf("%d rows, errors %q", rows, bad)
	}
}

func FuzzParquet(f *testing.F) {
	files, _ := filepath.Glob("testdata/parquet/*.parquet")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { drain(b) })
}
