package dataset

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/ordjson"
)

// arbitrary makes a JSON value of any shape; small worlds of keys make columns whose types clash.
func arbitrary(r *rand.Rand, depth int) Value {
	kinds := 8
	if depth == 0 {
		kinds = 6
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return ordjson.Int(r.Int64() >> r.IntN(64))
	case 3:
		return ordjson.Float(float64(r.IntN(2000)-1000) / 8)
	case 4:
		return []string{"", "é", "null", "[1]", "\n\"", "12"}[r.IntN(6)]
	case 5:
		return ordjson.Number("123456789012345678901234567890")
	case 6:
		list := make([]Value, r.IntN(4))
		for i := range list {
			list[i] = arbitrary(r, depth-1)
		}
		return list
	default:
		o := ordjson.New()
		for range r.IntN(4) {
			o.Set(string(rune('a'+r.IntN(4))), arbitrary(r, depth-1))
		}
		return o
	}
}

// calm makes values of one type a column, with gaps, so that typed columns are tried as often as clashing ones.
func calm(r *rand.Rand, column int) Value {
	if r.IntN(5) == 0 {
		return nil
	}
	switch column % 5 {
	case 0:
		return ordjson.Int(r.Int64())
	case 1:
		return ordjson.Float(r.NormFloat64())
	case 2:
		return r.IntN(2) == 0
	case 3:
		list := make([]Value, r.IntN(3))
		for i := range list {
			list[i] = []Value{"x", nil, "y"}[r.IntN(3)]
		}
		return list
	default:
		o := ordjson.New(ordjson.Member{Key: "k", Value: "v"})
		for _, key := range []string{"p", "q", "r"} {
			if r.IntN(2) == 0 {
				o.Set(key, []Value{ordjson.New(ordjson.Member{Key: key, Value: ordjson.Int(int64(r.IntN(9)))})})
			}
		}
		return o
	}
}

func write(t testing.TB, rows []Row, limit int) string {
	t.Helper()
	dir := t.TempDir()
	w, err := Create(dir, Text, map[Role]string{"text": "text"})
	if err != nil {
		t.Fatal(err)
	}
	w.limit = limit
	for _, row := range rows {
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Rows come back as they were written, in order and by index, whatever the values; through memory or a temporary
// file; and equal rows make equal bytes.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		var rows []Row
		for range 1 + r.IntN(40) {
			row := ordjson.New(ordjson.Member{Key: "text", Value: "t"})
			for c := range 5 {
				if seed%2 == 0 {
					row.Set(fmt.Sprint("c", c), arbitrary(r, 4))
				} else {
					row.Set(fmt.Sprint("c", c), calm(r, c))
				}
			}
			rows = append(rows, row)
		}
		if mixedNumbers(rows) {
			continue // a column of integers and floats is one of floats; the next test says so
		}
		memory, spilled := write(t, rows, spillBytes), write(t, rows, 100)
		for _, name := range []string{dataFile, headerFile} {
			a, b := read(t, memory, name), read(t, spilled, name)
			if !bytes.Equal(a, b) {
				t.Fatalf("seed %d: %s differs between two writers", seed, name)
			}
		}
		if entries, _ := os.ReadDir(spilled); len(entries) != 2 {
			t.Fatalf("seed %d: %v is left", seed, entries)
		}
		check(t, seed, memory, rows, spillBytes)
		check(t, seed, spilled, rows, 100)
	}
}

// mixedNumbers reports whether some place outside of roles has both integers and floats. What is left is exact.
func mixedNumbers(rows []Row) bool {
	s := newSchema(&Header{})
	for _, row := range rows {
		s.add(row)
	}
	exact := newSchema(&Header{Columns: map[Role]string{"0": "c0", "1": "c1", "2": "c2", "3": "c3", "4": "c4"}})
	for _, row := range rows {
		exact.add(row)
	}
	a, _ := s.special()
	b, _ := exact.special()
	return !slices.Equal(a, b)
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func check(t *testing.T, seed uint64, dir string, rows []Row, limit int) {
	t.Helper()
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.limit = limit
	i := 0
	for row, err := range d.All() {
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		same(t, seed, i, row, rows[i])
		i++
	}
	if i != len(rows) {
		t.Fatalf("seed %d: %d rows of %d", seed, i, len(rows))
	}
	for i := len(rows) - 1; i >= 0; i-- {
		row, err := d.Row(int64(i))
		if err != nil {
			t.Fatal(err)
		}
		same(t, seed, i, row, rows[i])
	}
}

func same(t *testing.T, seed uint64, i int, got, want Row) {
	t.Helper()
	if a, b := string(ordjson.Append(nil, got)), string(ordjson.Append(nil, want)); a != b {
		t.Fatalf("seed %d, row %d: read\n%s\nwrote\n%s", seed, i, a, b)
	}
}

func TestIntegersAmongFloats(t *testing.T) {
	rows := []Row{
		ordjson.New(ordjson.Member{Key: "text", Value: "a"}, ordjson.Member{Key: "score", Value: ordjson.Number("1")}),
		ordjson.New(ordjson.Member{Key: "text", Value: "b"}, ordjson.Member{Key: "score", Value: ordjson.Number("0.5")}),
	}
	d, err := Open(write(t, rows, spillBytes))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	row, err := d.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := row.Get("score"); v != ordjson.Number("1.0") || len(d.JSON) > 0 {
		t.Errorf("score %v, JSON %v", v, d.JSON)
	}
}

func source(t *testing.T, name string, content []byte) *Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return &Source{Path: file, Name: name}
}

func zipped(s string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.Bytes()
}

// What editors and exporters do to text files.
func TestTextFiles(t *testing.T) {
	want := `{"text":"a"}` + "\n" + `{"text":"b\nc"}` + "\n"
	for name, content := range map[string][]byte{
		"crlf.jsonl":     []byte("\xef\xbb\xbf{\"text\": \"a\"}\r\n\r\n  \r\n{\"text\": \"b\\nc\"}"),
		"list.json":      []byte("\xef\xbb\xbf [ {\"text\": \"a\"},\r\n{\"text\": \"b\\nc\"} ] "),
		"lines.json":     []byte("{\"text\": \"a\"}\n{\"text\": \"b\\nc\"}\n"),
		"pretty.json":    []byte("{\n \"text\": \"a\"\n}\n{\n \"text\": \"b\\nc\"\n}\n"),
		"data.json":      []byte(`{"data": [{"text": "a"}, {"text": "b\nc"}]}`),
		"crlf.csv":       []byte("\xef\xbb\xbftext\r\na\r\n\"b\nc\"\r\n"),
		"tab.tsv":        []byte("text\na\n\"b\nc\"\n"),
		"zipped.json.gz": zipped(`[{"text": "a"}, {"text": "b\nc"}]`),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "data.json" {
				content = bytes.ReplaceAll(content, []byte("\n"), []byte(`\n`))
			}
			if name == "zipped.json.gz" {
				content = zipped(`[{"text": "a"}, {"text": "b\nc"}]`)
			}
			if d := cmp.Diff(want, jsonLines(t, source(t, name, content))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestTextFileErrors(t *testing.T) {
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"utf16.jsonl":   {[]byte("\xff\xfe{\x00"), "utf16.jsonl: UTF-16; write the file in UTF-8"},
		"long.jsonl":    {bytes.Repeat([]byte("x"), maxLine+2<<20), "long.jsonl: line 1 is longer than 64 MiB"},
		"open.csv":      {append([]byte("a,b\n\""), bytes.Repeat([]byte("x\n"), maxLine/2+1<<20)...), "is a quote left open?"},
		"twice.csv":     {[]byte("a,a\n1,2\n"), "header: two columns are named a"},
		"number.json":   {[]byte("7"), "neither a list of rows nor rows one after another"},
		"after.json":    {[]byte(`[{"text": "a"}] x`), "after.json: text after the list of rows"},
		"cut.json":      {[]byte(`[{"text": "a"}`), "cut.json: row 2: JSON ends in the middle of a value"},
		"cut.json.gz":   {zipped(`[{"text": "a"}]`)[:20], "unexpected EOF"},
		"what.dat":      {[]byte("x"), "the name does not tell the format"},
		"empty.parquet": {nil, "empty.parquet: no Parquet file: too short"},
	} {
		t.Run(name, func(t *testing.T) {
			var got error
			for _, err := range source(t, name, test.content).Rows() {
				if err != nil {
					got = err
				}
			}
			if got == nil || !strings.Contains(got.Error(), test.want) {
				t.Errorf("error %v, want %q", got, test.want)
			}
		})
	}
}

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		columns string
		mapped  map[Role]string
		want    string // format and roles, or the error
	}{
		{"messages id", nil, "messages messages=messages"},
		{"prompt completion messages", nil, "messages messages=messages"},
		{"prompt completion", nil, "prompt-completion completion=completion prompt=prompt"},
		{"prompt completion label", nil, "kto completion=completion label=label prompt=prompt"},
		{"prompt chosen rejected", nil, "preference chosen=chosen prompt=prompt rejected=rejected"},
		{"chosen rejected", nil, "preference chosen=chosen prompt=prompt rejected=rejected"},
		{"prompt answer", nil, "prompt answer=answer prompt=prompt"},
		{"text prompt", nil, "prompt prompt=prompt"},
		{"text", nil, "text text=text"},
		{"messages tools", nil, "messages messages=messages tools=tools"},
		{"q a messages", map[Role]string{"prompt": "q"}, "prompt prompt=q"},
		{"question answer", map[Role]string{"prompt": "question", "answer": "answer"}, "prompt answer=answer prompt=question"},
		{"prompt response", map[Role]string{"completion": "response"}, "prompt-completion completion=response prompt=prompt"},
		{"prompt x", map[Role]string{"text": "prompt"}, "text text=prompt"},
		{"question answer", nil, `no row format fits the columns question, answer; write columns: {prompt: "question", completion: "answer"}`},
		{"question chosen rejected", nil, `columns: prompt: "question"`},
		{"a b", map[Role]string{"prompt": "c"}, `columns.prompt: no column "c"; there are a, b`},
		{"a b", map[Role]string{"question": "a"}, `columns.question: no such role`},
	} {
		format, roles, err := Detect(strings.Fields(test.columns), test.mapped)
		got := string(format)
		h := Header{Columns: roles}
		for _, role := range h.sortedRoles() {
			got += " " + role + "=" + roles[role]
		}
		if err != nil {
			got = err.Error()
		}
		if got != test.want && (err == nil || !strings.Contains(got, test.want)) {
			t.Errorf("%s, %v: %s, want %s", test.columns, test.mapped, got, test.want)
		}
	}
}

func TestOpenRefusesWhatDoesNotFit(t *testing.T) {
	rows := []Row{ordjson.New(ordjson.Member{Key: "text", Value: "a"})}
	for want, header := range map[string]string{
		"1 rows where dataset.json says 2": `{"format": "text", "rows": 2, "columns": {"text": "text"}}`,
		`no column "body" for text`:        `{"format": "text", "rows": 1, "columns": {"text": "body"}}`,
		`unknown format "chat"`:            `{"format": "chat", "rows": 1, "columns": {}}`,
		"has no column for text":           `{"format": "text", "rows": 1, "columns": {}}`,
	} {
		dir := write(t, rows, spillBytes)
		if err := os.WriteFile(filepath.Join(dir, headerFile), []byte(header), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// datasets.load_dataset reads an artifact. HONE_PEERS names a Python that has it.
func TestDatasetsReadsIt(t *testing.T) {
	python := os.Getenv("HONE_PEERS")
	if python == "" {
		t.Skip("HONE_PEERS is not set")
	}
	var rows []Row
	for _, s := range []string{
		`{"text":"a","messages":[{"role":"user","content":"hi é"},{"role":"assistant","content":"x","name":"n"}],"n":1,"f":0.5,"ok":true}`,
		`{"text":"b","messages":[{"role":"user","content":""}],"n":null,"f":-1e+300,"ok":null}`,
	} {
		v, err := ordjson.Parse([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, v.(Row))
	}
	cmd := exec.Command(python, "../../bench/peers/dataset_check.py", write(t, rows, spillBytes))
	cmd.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "HF_HOME="+t.TempDir())
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("%v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for _, row := range rows {
		want.Write(append(ordjson.Append(nil, row), '\n'))
	}
	if d := cmp.Diff(want.String(), string(out)); d != "" {
		t.Error(d)
	}
}
