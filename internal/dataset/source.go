package dataset

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Source is rows of the user's: a file, or a folder of files of one format, read in the order of their names.
type Source struct {
	Path   string // file or folder
	Name   string // for messages: as the user wrote it
	Format string // jsonl, json, csv, parquet, text; by the files' endings when empty
	Split  string // the part of a folder that is read
	Warn   func(format string, args ...any)

	// Roles is the columns that play a role. In a Parquet file their unannotated bytes are text, and a null field
	// within them is one that is not there: Arrow fills in the fields that other rows have.
	Roles map[string]bool

	files []file
}

type file struct{ path, name string }

// endings of file names, each also with .gz or .zst where it is text.
var endings = map[string]string{
	".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "text",
}

func formatOf(name string) string {
	name = strings.ToLower(name)
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	f := endings[filepath.Ext(base)]
	if base != name && f == "parquet" {
		return ""
	}
	return f
}

// open finds the files and the format.
func (s *Source) open() error {
	if s.files != nil {
		return nil
	}
	info, err := os.Stat(s.Path)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, withoutPath(err))
	}
	if info.IsDir() {
		err = s.openFolder()
	} else if s.Split != "" {
		err = fmt.Errorf("%s is a file: split is for a folder", s.Name)
	} else {
		s.files = []file{{s.Path, s.Name}}
	}
	if err != nil || s.Format != "" {
		return err
	}
	if s.Format = formatOf(s.files[0].path); s.Format == "" {
		return fmt.Errorf("%s: the name does not tell the format; write format: jsonl, json, csv, parquet or text", s.files[0].name)
	}
	return nil
}

// splitNames are the words by which a file's name says which split it holds, as Hugging Face's datasets reads them.
var splitNames = map[string]string{
	"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
	"test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}

var words = regexp.MustCompile(`[A-Za-z0-9]+`)

func (s *Source) openFolder() error {
	var all []file
	found := map[string]bool{} // formats
	err := filepath.WalkDir(s.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != s.Path && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		f := formatOf(d.Name())
		if d.IsDir() || f == "" || (s.Format != "" && f != s.Format) || d.Name() == headerFile {
			return nil
		}
		rel, err := filepath.Rel(s.Path, path)
		if err != nil {
			return err
		}
		all = append(all, file{path, filepath.Join(s.Name, rel)})
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	splits := map[string]bool{}
	for _, f := range all {
		split := s.splitOf(f)
		if s.Split != "" && split != s.Split && !s.named(f, s.Split) {
			continue
		}
		if split != "" {
			splits[split] = true
		}
		s.files = append(s.files, f)
		found[formatOf(f.path)] = true
	}
	slices.SortFunc(s.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	switch {
	case len(s.files) == 0 && s.Split != "":
		return fmt.Errorf("%s: no file of split %s", s.Name, s.Split)
	case len(s.files) == 0:
		return fmt.Errorf("%s: no data files", s.Name)
	case len(found) > 1:
		return fmt.Errorf("%s: files of formats %s; write format to choose one", s.Name, strings.Join(keys(found), ", "))
	case s.Split == "" && len(splits) > 1:
		return fmt.Errorf("%s: files of splits %s; write split to choose one", s.Name, strings.Join(keys(splits), ", "))
	}
	return nil
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// splitOf returns the split that the file's name below the folder tells, or "".
func (s *Source) splitOf(f file) string {
	for _, word := range s.words(f) {
		if split, ok := splitNames[word]; ok {
			return split
		}
	}
	return ""
}

// named reports whether the split stands as words in the file's name, for splits of other names: train_sft.
func (s *Source) named(f file, split string) bool {
	return strings.Contains(" "+strings.Join(s.words(f), " ")+" ", " "+strings.Join(words.FindAllString(strings.ToLower(split), -1), " ")+" ")
}

func (s *Source) words(f file) []string {
	rel, err := filepath.Rel(s.Path, f.path)
	if err != nil {
		rel = filepath.Base(f.path)
	}
	return words.FindAllString(strings.ToLower(rel), -1)
}

// sampled is how many rows of a file without a schema Columns looks at.
const sampled = 1000

// Columns returns the names of the columns: of a Parquet file's schema, else of the first thousand rows, in the order
// in which they appear. There are none where no row can be read.
func (s *Source) Columns() ([]string, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	if s.Format == "parquet" {
		f := s.files[0]
		pf, err := openParquet(f.path, policy{json: never, keepNulls: never, binary: never})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, withoutPath(err))
		}
		defer pf.close()
		return pf.names(), nil
	}
	var names []string
	seen := map[string]bool{}
	rows := 0
	for r, err := range s.Rows() {
		if rows++; rows > sampled {
			break
		}
		if err != nil {
			continue // Rows says it again
		}
		for _, m := range r.Row.Members() {
			if !seen[m.Key] {
				seen[m.Key] = true
				names = append(names, m.Key)
			}
		}
	}
	return names, nil
}

func never(string) bool { return false }

// Record is a row with the place where it was read: data/train.jsonl:812, data/train.parquet: row 812 (from 1).
type Record struct {
	Where string
	Row   Row
}

// Rows yields the source's rows in order. An error that is a *RowError is one row's: the next rows follow. Any other
// error is the last thing that is yielded.
func (s *Source) Rows() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := s.open(); err != nil {
			yield(Record{}, err)
			return
		}
		for _, f := range s.files {
			if !s.readFile(f, yield) {
				return
			}
		}
	}
}

// readFile yields the rows of one file and reports whether to go on.
func (s *Source) readFile(f file, yield func(Record, error) bool) bool {
	r := reader{name: f.name, yield: yield, going: true}
	var err error
	if s.Format == "parquet" {
		err = s.readParquet(f, &r)
	} else {
		err = s.readText(f, &r)
	}
	if err != nil && r.going {
		yield(Record{}, fmt.Errorf("%s: %w", f.name, withoutPath(err)))
		return false
	}
	return r.going
}

// reader hands rows on.
type reader struct {
	name  string
	yield func(Record, error) bool
	going bool
}

// row hands on a row, or what is wrong with it, and reports whether more is wanted.
func (r *reader) row(where string, row Row, err error) bool {
	if err != nil {
		r.going = r.yield(Record{Where: where}, &RowError{where, err})
	} else {
		r.going = r.yield(Record{Where: where, Row: row}, nil)
	}
	return r.going
}

func (s *Source) readText(f file, r *reader) error {
	in, err := openText(f.path)
	if err != nil {
		return err
	}
	defer in.Close()
	switch s.Format {
	case "jsonl":
		return readJSONL(in, r)
	case "json":
		return readJSON(in, r)
	case "csv":
		comma := ','
		if strings.Contains(strings.ToLower(filepath.Base(f.path)), ".tsv") {
			comma = '\t'
		}
		return readCSV(in, r, comma)
	case "text":
		return readLines(in, r)
	}
	return fmt.Errorf("unknown format %q", s.Format)
}

func (s *Source) readParquet(f file, r *reader) error {
	pf, err := openParquet(f.path, policy{
		json:      never,
		keepNulls: func(path string) bool { return !s.Roles[topOf(path)] },
		binary:    func(path string) bool { return s.Roles[topOf(path)] },
	})
	if err != nil {
		return err
	}
	defer pf.close()
	for _, c := range pf.columns {
		if c.unreadable != "" && s.Warn != nil {
			s.Warn("%s: column %s is left out: it holds %s", f.name, c.name, c.unreadable)
		}
	}
	at := 0
	for i := range len(pf.starts) - 1 {
		for row, err := range pf.group(i) {
			var fatal *fatalError
			if errors.As(err, &fatal) {
				return err
			}
			at++
			if !r.row(fmt.Sprintf("%s: row %d", f.name, at), row, err) {
				return nil
			}
		}
	}
	return nil
}

func topOf(path string) string {
	if i := strings.IndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return path
}

// openText opens a file of text, decompressed where its name ends in .gz or .zst.
func openText(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	switch filepath.Ext(strings.ToLower(path)) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, err
		}
		return &inflated{z, f, func() {}}, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			f.Close()
			return nil, err
		}
		return &inflated{z, f, z.Close}, nil
	}
	return f, nil
}

type inflated struct {
	io.Reader
	f     *os.File
	close func()
}

func (i *inflated) Close() error {
	i.close()
	return i.f.Close()
}

// withoutPath takes the path from a file error: messages begin with the path that the user wrote.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
