package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hone-ml/hone/internal/ordjson"
)

// loaded is the rows of a file as data.load reads them.
func loaded(t *testing.T, name, text string, mapped map[Role]string) Side {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	side, err := (&Source{Path: path, Name: name}).Side(mapped)
	if err != nil {
		t.Fatal(err)
	}
	return side
}

// stored is the same rows, written as an artifact and read again.
func stored(t *testing.T, s Side) Side {
	t.Helper()
	dir := t.TempDir()
	w, err := Create(dir, s.Format, s.Columns)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range s.All {
		if err == nil {
			err = w.Write(row)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d.Side()
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name, file    string
		before, after string
		want          Delta
	}{
		{
			"the prompt tells rows apart, and order means nothing", "a.jsonl",
			`{"prompt": "1+1?", "completion": "2"}
{"prompt": "2+2?", "completion": "4"}
{"prompt": "3+3?", "completion": "5"}`,
			`{"prompt": "3+3?", "completion": "6"}
{"prompt": "4+4?", "completion": "8"}
{"prompt": "1+1?", "completion": "2"}`,
			Delta{Before: 3, After: 3, Added: 1, Removed: 1, Changed: 1, By: "prompt"},
		},
		{
			"a row that stands there twice counts twice", "a.jsonl",
			`{"prompt": "1+1?", "completion": "2"}
{"prompt": "1+1?", "completion": "2"}
{"prompt": "1+1?", "completion": "3"}`,
			`{"prompt": "1+1?", "completion": "2"}
{"prompt": "1+1?", "completion": "4"}`,
			Delta{Before: 3, After: 2, Removed: 1, Changed: 1, By: "prompt"},
		},
		{
			"an id goes before the prompt", "a.jsonl",
			`{"id": 1, "prompt": "1+1?", "completion": "2"}
{"id": 2, "prompt": "2+2?", "completion": "4"}`,
			`{"id": 1, "prompt": "What is 1+1?", "completion": "2"}
{"id": 3, "prompt": "2+2?", "completion": "4"}`,
			Delta{Before: 2, After: 2, Added: 1, Removed: 1, Changed: 1, By: "id"},
		},
		{
			"a conversation is known by what the user says first", "a.jsonl",
			`{"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}`,
			`{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}`,
			Delta{Before: 1, After: 1, Changed: 1, By: "prompt"},
		},
		{
			"plain text has no identity", "a.txt", "one\ntwo\nthree\n", "one\ntwo\nfour\nfive\n",
			Delta{Before: 3, After: 4, Added: 2, Removed: 1},
		},
		{
			"columns come and go", "a.csv", "prompt,completion,from\n1+1?,2,a\n", "prompt,completion,level\n1+1?,2,easy\n",
			Delta{Before: 1, After: 1, Changed: 1, By: "prompt", ColumnsAdded: []string{"level"}, ColumnsRemoved: []string{"from"}},
		},
		{
			"another order is the same rows", "a.jsonl",
			`{"prompt": "1+1?", "completion": "2"}
{"prompt": "2+2?", "completion": "4"}`,
			`{"completion": "4", "prompt": "2+2?"}
{"prompt": "1+1?", "completion": "2"}`,
			Delta{Before: 2, After: 2, By: "prompt", Reordered: true},
		},
		{
			"the end of a preference's prompt that is written in both answers", "a.jsonl",
			`{"chosen": "Who? Ada", "rejected": "Who? Bob"}
{"chosen": "Where? Rome", "rejected": "Where? Oslo"}`,
			`{"chosen": "Who? Ada", "rejected": "Who? Tim"}
{"chosen": "Where? Rome", "rejected": "Where? Oslo"}`,
			Delta{Before: 2, After: 2, Changed: 1, By: "prompt"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := func() Side { return loaded(t, c.file, c.before, nil) }, func() Side { return loaded(t, c.file, c.after, nil) }
			for _, sides := range [][2]Side{{a(), b()}, {stored(t, a()), b()}, {stored(t, a()), stored(t, b())}} {
				got, err := Compare(context.Background(), sides[0], sides[1])
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(*got, c.want) {
					t.Errorf("%+v\nwant %+v", *got, c.want)
				}
			}
		})
	}
}

// What a source says and what its artifact says are the same rows, however Parquet spells them.
func TestCompareSpellings(t *testing.T) {
	const text = `{"prompt": "p", "completion": "c", "n": 1, "meta": {"a": null, "b": [1, 2.5, "x"]}, "big": 12345678901234567890}
{"prompt": "q", "completion": "d", "n": 2.0, "meta": {"b": []}, "more": null}
{"prompt": "r", "completion": "e", "n": 2.5, "meta": {}}`
	got, err := Compare(context.Background(), stored(t, loaded(t, "a.jsonl", text, nil)), loaded(t, "a.jsonl", text, nil))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Delta{Before: 3, After: 3, By: "prompt"}); !reflect.DeepEqual(*got, want) {
		t.Errorf("%+v", got)
	}
}

func TestCompareEnds(t *testing.T) {
	good := loaded(t, "a.jsonl", `{"prompt": "p", "completion": "c"}`, nil)
	bad := loaded(t, "b.jsonl", "{\"prompt\": \"p\", \"completion\": \"c\"}\n{\"prompt\": 3}", nil)
	if _, err := Compare(context.Background(), good, bad); err == nil || !strings.HasPrefix(err.Error(), "b.jsonl:2: ") {
		t.Errorf("a row that data.load refuses: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Compare(ctx, good, good); !errors.Is(err, context.Canceled) {
		t.Errorf("its time is over: %v", err)
	}
	defer func(n int) { mostCompared = n }(mostCompared)
	mostCompared = 1000
	endless := Side{Header: Header{Format: Text}, All: func(yield func(Row, error) bool) {
		row := ordjson.New(ordjson.Member{Key: "text", Value: "x"})
		for yield(row, nil) {
		}
	}}
	if _, err := Compare(context.Background(), endless, good); err == nil || err.Error() != fmt.Sprintf("more than %d rows", mostCompared) {
		t.Errorf("a limit: %v", err)
	}
}
