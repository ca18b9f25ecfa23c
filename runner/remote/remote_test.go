package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hone-ml/hone/internal/bucket"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// memory is a bucket that a test looks into, and breaks.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	writes  []string
	reads   map[string][]int64 // offsets
	cut     map[string]int     // the bytes after which a read of it breaks off, once
	long    map[string]bool    // objects that go on after the size that they are said to have
}

func newMemory() *memory {
	return &memory{objects: map[string][]byte{}, reads: map[string][]int64{}, cut: map[string]int{}, long: map[string]bool{}}
}

func (m *memory) Close() error { return nil }

func (m *memory) get(name string) ([]byte, error) {
	b, ok := m.objects[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return b, nil
}

func (m *memory) Size(_ context.Context, name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.get(name)
	return int64(len(b)), err
}

func (m *memory) Read(_ context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.get(name)
	if err != nil {
		return nil, 0, err
	}
	m.reads[name] = append(m.reads[name], offset)
	var r io.Reader = bytes.NewReader(b[offset:])
	if n, ok := m.cut[name]; ok {
		delete(m.cut, name)
		r = io.MultiReader(bytes.NewReader(b[offset:n]), broken{})
	}
	if m.long[name] {
		r = io.MultiReader(r, endless{})
	}
	return io.NopCloser(r), int64(len(b)), nil
}

type (
	broken  struct{}
	endless struct{}
)

func (broken) Read([]byte) (int, error)    { return 0, errors.New("connection reset") }
func (endless) Read(p []byte) (int, error) { return len(p), nil }

func (m *memory) Write(_ context.Context, name string, size int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil || int64(len(b)) != size {
		return errors.Join(err, fmt.Errorf("%d of %d bytes", len(b), size))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = b
	m.writes = append(m.writes, name)
	return nil
}

func (m *memory) List(_ context.Context, prefix string, each func(string, int64) error) error {
	m.mu.Lock()
	names := slices.Sorted(maps.Keys(m.objects))
	m.mu.Unlock()
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			if err := each(name, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

var _ bucket.Bucket = (*memory)(nil)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err == nil {
		err = st.Init()
	}
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// ingredients with their key, as CheckRecord wants it.
func record(t *testing.T, outputs map[string]store.Output) *store.Record {
	t.Helper()
	r := &store.Record{
		Kind: "exec", Stage: "s", Numerics: &job.Numerics{Device: "cpu", Threads: 1}, Outputs: outputs,
		Ingredients: []store.Ingredient{{From: "stage", Field: "kind", Value: json.RawMessage(`"exec"`)}},
	}
	r.Key = store.Sum([]byte("hone key 1\nstage \"kind\" \"exec\"\n"))
	if err := runner.CheckRecord(r); err != nil {
		t.Fatal(err)
	}
	return r
}

// pushed is a store whose record is in a remote.
func pushed(t *testing.T, files map[string]string) (*memory, *store.Record, *store.Store) {
	t.Helper()
	st, dir := newStore(t), t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := st.Put(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(st.Dir, "tmp", "log")
	if err := os.Mkdir(log, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"metrics.jsonl", "stderr.txt"} {
		if err := os.WriteFile(filepath.Join(log, name), []byte("{}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rec := record(t, map[string]store.Output{"out": {Kind: "files", Hash: hash}})
	if err := st.Commit(rec, log); err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	if had, err := New(context.Background(), "memory", m, st).Push(context.Background(), rec); err != nil || had {
		t.Fatal(had, err)
	}
	return m, rec, st
}

func TestRoundTrip(t *testing.T) {
	m, rec, _ := pushed(t, map[string]string{"a": "text", "sub/b": "text", "empty": ""})
	kinds := ""
	for _, name := range m.writes {
		if kind := name[:1]; !strings.HasSuffix(kinds, kind) {
			kinds += kind
		}
	}
	if kinds != "otr" && kinds != "ototr" {
		t.Errorf("written in the order %v: objects, trees, the record", m.writes)
	}
	st := newStore(t)
	r := New(context.Background(), "memory", m, st)
	found, err := r.Records(context.Background(), rec.Key)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if err := r.Bring(context.Background(), found[0]); err != nil {
		t.Fatal(err)
	}
	if err := st.Verify(rec.Outputs["out"].Hash); err != nil {
		t.Fatal(err)
	}
	own, err := st.Records(rec.Key)
	if err != nil || len(own) != 1 {
		t.Fatal(own, err)
	}
	if b, err := os.ReadFile(filepath.Join(st.LogDir(own[0]), "metrics.jsonl")); err != nil || string(b) != "{}\n" {
		t.Errorf("log %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(st.LogDir(own[0]), "stderr.txt")); err == nil {
		t.Error("standard error went along")
	}
	if f, err := st.Fsck(); err != nil || len(f.Problems) > 0 {
		t.Errorf("%v %v", f, err)
	}
}

// A transfer that breaks off goes on where it was, in this process or the next, and what came before is hashed again.
func TestGoesOn(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	m, rec, _ := pushed(t, map[string]string{"big": big})
	name := "objects/" + store.Sum([]byte(big))
	m.cut[name] = 300_000
	st := newStore(t)
	if err := New(context.Background(), "memory", m, st).Bring(context.Background(), rec); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m.reads[name]); got != "[0 300000]" {
		t.Errorf("read from %s", got)
	}

	for what, half := range map[string]struct {
		bytes string
		from  string
	}{"a beginning": {big[:1000], "[1000]"}, "other bytes": {"nonsense", "[8 0]"}, "too much": {big + "x", "[0]"}} {
		st, m.reads[name] = newStore(t), nil
		part := filepath.Join(st.Dir, "tmp", "part-"+store.Sum([]byte(big)))
		if err := os.WriteFile(part, []byte(half.bytes), 0o644); err != nil {
			t.Fatal(err)
		}
		use, err := st.Use() // which tidies
		if err != nil {
			t.Fatal(err)
		}
		if err := New(context.Background(), "memory", m, st).Bring(context.Background(), rec); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		use.Close()
		if got := fmt.Sprint(m.reads[name]); got != half.from {
			t.Errorf("%s: read from %s, want %s", what, got, half.from)
		}
	}
}

// What a remote says is not believed.
func TestHostile(t *testing.T) {
	text := "some text"
	object := "objects/" + store.Sum([]byte(text))
	lie := func(lines string) func(*memory, *store.Record) { // a manifest under its right name
		return func(m *memory, rec *store.Record) {
			b := []byte("hone tree 1\n" + lines)
			out := rec.Outputs["out"]
			out.Hash = store.Sum(b)
			rec.Outputs["out"] = out
			m.objects["trees/"+out.Hash] = b
		}
	}
	file := store.Sum([]byte(text)) + " - "
	for what, c := range map[string]struct {
		spoil func(*memory, *store.Record)
		want  string
	}{
		"other bytes":     {func(m *memory, _ *store.Record) { m.objects[object] = []byte("some TEXT") }, object + ": its bytes are not those of its name"},
		"fewer bytes":     {func(m *memory, _ *store.Record) { m.objects[object] = []byte("some") }, object + ": its bytes are not those of its name"},
		"gone":            {func(m *memory, _ *store.Record) { delete(m.objects, object) }, object + " is not there"},
		"no manifest":     {func(m *memory, r *store.Record) { delete(m.objects, "trees/"+r.Outputs["out"].Hash) }, "is not there, and a record names it"},
		"other manifest":  {func(m *memory, r *store.Record) { m.objects["trees/"+r.Outputs["out"].Hash] = []byte("hone tree 1\n") }, "its bytes are not those of its name"},
		"a huge manifest": {func(m *memory, r *store.Record) { m.long["trees/"+r.Outputs["out"].Hash] = true }, "over 64 MiB"},
		"a path upwards":  {lie(file + `"../../evil"` + "\n"), `not a path inside a tree: "../../evil"`},
		"a path from /":   {lie(file + `"/etc/evil"` + "\n"), `not a path inside a tree: "/etc/evil"`},
		"the folder":      {lie(file + `"."` + "\n"), `not a path of its own: "."`},
		"a crooked path":  {lie(file + `"a//b"` + "\n"), `not a path of its own: "a//b"`},
		"a path twice":    {lie(file + `"a"` + "\n" + file + `"a"` + "\n"), `not a path of its own: "a"`},
		"a file within":   {lie(file + `"a"` + "\n" + file + `"a/b"` + "\n"), `not a path of its own: "a/b"`},
		"unsorted":        {lie(file + `"b"` + "\n" + file + `"a"` + "\n"), "its files are not listed as hone lists them"},
		"empty":           {lie(""), "nothing was written"},
	} {
		t.Run(what, func(t *testing.T) {
			m, rec, _ := pushed(t, map[string]string{"file": text})
			name := recordName(rec.Key, newStore(t).RecordID(rec))
			c.spoil(m, rec)
			b, err := json.Marshal(sent{Format: format, Record: rec})
			if err != nil {
				t.Fatal(err)
			}
			m.objects[name] = b
			st := newStore(t)
			err = New(context.Background(), "memory", m, st).Bring(context.Background(), rec)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if st.Check(rec.Outputs["out"].Hash) == nil {
				t.Error("it entered the store")
			}
			if own, _ := st.Records(rec.Key); len(own) > 0 {
				t.Error("its record entered the store")
			}
			if _, err := os.Stat(filepath.Join(st.Dir, "..", "evil")); err == nil {
				t.Error("written outside the store")
			}
			if f, err := st.Fsck(); err != nil || len(f.Problems) > 0 {
				t.Errorf("fsck: %v %v", f, err)
			}
		})
	}
	m, rec, _ := pushed(t, map[string]string{"file": text}) // more bytes than it has are not read
	m.long[object] = true
	if err := New(context.Background(), "memory", m, newStore(t)).Bring(context.Background(), rec); err != nil {
		t.Error(err)
	}
}

// A record that is none is left aside with a warning.
func TestHostileRecords(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*sent)
		raw   string
		want  string
	}{
		"no JSON":           {raw: "{", want: "not a record"},
		"another format":    {spoil: func(s *sent) { s.Format = 2 }, want: "a record of format 2; this hone reads 1"},
		"another key":       {spoil: func(s *sent) { s.Record.Key = store.Sum(nil) }, want: "a record of another key"},
		"other ingredients": {spoil: func(s *sent) { s.Record.Ingredients[0].Value = json.RawMessage(`"eval"`) }, want: "its ingredients give the key"},
		"other numerics":    {spoil: func(s *sent) { s.Record.Numerics.Threads = 7 }, want: "of other numerics than its name says"},
		"a path for a hash": {spoil: func(s *sent) { s.Record.Outputs["out"] = store.Output{Kind: "files", Hash: "../../x"} }, want: `its output "out" has no hash`},
		"a path for a log":  {spoil: func(s *sent) { s.Log = "../x" }, want: "its log has no hash"},
		"a path for prefix": {spoil: func(s *sent) { s.Record.Prefix = "../x" }, want: "its prefix key is no hash"},
		"nothing":           {raw: `{"hone_record": 1}`, want: "a record of format 1"},
		"huge":              {raw: `{"hone_record": 1, "log": "` + strings.Repeat("x", recordLimit), want: "over 8 MiB"},
	} {
		t.Run(what, func(t *testing.T) {
			m, rec, st := pushed(t, map[string]string{"file": "text"})
			name := recordName(rec.Key, st.RecordID(rec))
			b := []byte(c.raw)
			if c.spoil != nil {
				var s sent
				if err := json.Unmarshal(m.objects[name], &s); err != nil {
					t.Fatal(err)
				}
				c.spoil(&s)
				b, _ = json.Marshal(s)
			}
			m.objects[name] = b
			r := New(context.Background(), "memory", m, newStore(t))
			warned := ""
			r.Warn = func(text string) { warned = text }
			if found, err := r.Records(context.Background(), rec.Key); err != nil || len(found) > 0 {
				t.Errorf("%v %v", found, err)
			}
			if !strings.Contains(warned, c.want) || !strings.HasPrefix(warned, "memory: ") {
				t.Errorf("warned %q, want %q", warned, c.want)
			}
		})
	}
}

// Many may push the same at once, and a push that is interrupted leaves no record.
func TestPushAtOnce(t *testing.T) {
	_, rec, st := pushed(t, map[string]string{"a": "1", "b": "2", "c": strings.Repeat("3", 1<<20)})
	m := newMemory()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := New(context.Background(), "memory", m, st).Push(context.Background(), rec); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := New(context.Background(), "memory", m, newStore(t)).Bring(context.Background(), rec); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	m = newMemory()
	if _, err := New(ctx, "memory", m, st).Push(ctx, rec); !errors.Is(err, context.Canceled) || len(m.objects) > 0 {
		t.Errorf("%v, %d objects", err, len(m.objects))
	}
}
