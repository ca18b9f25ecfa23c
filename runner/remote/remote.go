// Package remote shares records and artifacts by way of a bucket that several machines reach.
//
//	objects/<hash>            a file's bytes, by their BLAKE3-256 (with .x where the file may be executed)
//	trees/<hash>              an artifact's manifest, by the artifact's hash: the list of its files (package store)
//	records/<key>/<id>.json   what a run of a key gave: the record, and the tree of its log; id tells numerics apart
//
// What a name is the hash of never changes, and objects are written before the trees that list them, trees before the records that
// name them: who sees a record sees all that it promises, however many push at once and wherever one is killed. The first record
// of a key and its numerics stays.
//
// A remote is trusted to say what a key gave, as any cache is; nothing else it says is believed. Names, paths, sizes and hashes
// are checked on the way in, and what is read to be parsed is bounded.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hone-ml/hone/internal/bounded"
	"github.com/hone-ml/hone/internal/bucket"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

const (
	recordLimit   = 8 << 20
	manifestLimit = 64 << 20
	reportLimit   = 64 << 20

	transfers  = 8    // objects on their way at once, over all records
	stages     = 16   // records at once
	ahead      = 1000 // records that are read as soon as one is wanted
	tries      = 3    // for an object whose transfer breaks off
	knownLimit = 1_000_000
)

// Remote is a bucket seen from a store. Its methods may be called at once.
type Remote struct {
	Warn     func(string)     // of a record that is left aside; may be nil
	Progress func(p Progress) // as bytes move, from several goroutines; may be nil
	Again    bool             // Push writes what is there already too

	name   string
	bucket bucket.Bucket
	store  *store.Store
	slots  chan struct{}

	files, bytes, total atomic.Int64

	list    func() (map[string][]string, error) // names of records by key
	mu      sync.Mutex
	records map[string]*once[*sent] // by name
	objects map[string]*once[bool]  // by name: whether it had to be sent
}

// Progress is how far all transfers are together. Total grows as more is found.
type Progress struct{ Files, Bytes, Total int64 }

// Open opens what a URL names, as seen from a store. With make a folder that is not there is made.
func Open(ctx context.Context, at string, st *store.Store, make bool) (*Remote, error) {
	b, err := bucket.Open(ctx, at, make)
	if err != nil {
		return nil, err
	}
	return New(ctx, bucket.Shown(at), b, st), nil
}

// New is a remote in a bucket. ctx ends the reading of records.
func New(ctx context.Context, name string, b bucket.Bucket, st *store.Store) *Remote {
	r := &Remote{
		name: name, bucket: b, store: st, slots: make(chan struct{}, transfers),
		records: map[string]*once[*sent]{}, objects: map[string]*once[bool]{},
	}
	r.list = sync.OnceValues(func() (map[string][]string, error) { return r.listRecords(ctx) })
	return r
}

// Close ends the connection.
func (r *Remote) Close() error { return r.bucket.Close() }

// Done is what has moved so far.
func (r *Remote) Done() Progress {
	return Progress{r.files.Load(), r.bytes.Load(), r.total.Load()}
}

// sent is a record as it lies in a remote.
type sent struct {
	Format int           `json:"hone_record"`
	Record *store.Record `json:"record"`
	Log    string        `json:"log,omitempty"` // the tree of its log
}

const format = 1

func recordName(key, id string) string { return "records/" + key + "/" + id + ".json" }

// listRecords asks once for the names of all records: a plan of many stages then knows what is not there without asking.
func (r *Remote) listRecords(ctx context.Context) (map[string][]string, error) {
	byKey := map[string][]string{}
	n := 0
	err := r.bucket.List(ctx, "records/", func(name string, _ int64) error {
		if n++; n > knownLimit {
			return fmt.Errorf("%s: more than %d records", r.name, knownLimit)
		}
		key := path.Base(path.Dir(name))
		if store.IsHash(key) && name == recordName(key, strings.TrimSuffix(path.Base(name), ".json")) {
			byKey[key] = append(byKey[key], name)
		}
		return nil
	})
	return byKey, err
}

// record reads a record, once.
func (r *Remote) record(ctx context.Context, name string) (*sent, error) {
	r.mu.Lock()
	o, ok := r.records[name]
	if !ok {
		o = &once[*sent]{}
		r.records[name] = o
	}
	r.mu.Unlock()
	return o.do(func() (*sent, error) {
		b, err := r.small(ctx, name, recordLimit)
		if err != nil {
			return nil, err
		}
		s, err := parseRecord(path.Base(path.Dir(name)), b)
		if err != nil {
			return nil, damaged("%s: %s: %w", r.name, name, err)
		}
		if id := r.store.RecordID(s.Record); name != recordName(s.Record.Key, id) {
			return nil, damaged("%s: %s: of other numerics than its name says", r.name, name)
		}
		return s, nil
	})
}

func parseRecord(key string, b []byte) (*sent, error) {
	var s sent
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("not a record: %w", err)
	}
	switch {
	case s.Format != format || s.Record == nil:
		return nil, fmt.Errorf("a record of format %d; this hone reads %d", s.Format, format)
	case s.Record.Key != key:
		return nil, fmt.Errorf("a record of another key: %.12s", s.Record.Key)
	case s.Log != "" && !store.IsHash(s.Log):
		return nil, errors.New("its log has no hash")
	}
	return &s, runner.CheckRecord(s.Record)
}

// small reads an object that is parsed here.
func (r *Remote) small(ctx context.Context, name string, limit int64) ([]byte, error) {
	body, _, err := r.bucket.Read(ctx, name, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := bounded.Read(body, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", r.name, name, err)
	}
	return b, nil
}

// Damage is what a remote has, or lacks, other than its names and records say.
type Damage struct{ err error }

func (e *Damage) Error() string { return e.err.Error() }
func (e *Damage) Unwrap() error { return e.err }

func damaged(format string, args ...any) error { return &Damage{fmt.Errorf(format, args...)} }

// manifest reads the list of an artifact's files.
func (r *Remote) manifest(ctx context.Context, tree string) ([]byte, []store.File, error) {
	b, err := r.small(ctx, "trees/"+tree, manifestLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, damaged("%s: trees/%s is not there, and a record names it; hone push --again mends it", r.name, tree)
	}
	if err != nil {
		return nil, nil, err
	}
	files, err := store.ParseManifest(tree, b)
	if err != nil {
		return nil, nil, damaged("%s: %w", r.name, err)
	}
	return b, files, nil
}

// moved counts bytes.
func (r *Remote) moved(n int) {
	r.bytes.Add(int64(n))
	r.tell()
}

func (r *Remote) tell() {
	if r.Progress != nil {
		r.Progress(r.Done())
	}
}

// slot waits for room for one more transfer.
func (r *Remote) slot(ctx context.Context) (free func(), err error) {
	select {
	case r.slots <- struct{}{}:
		return func() { <-r.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// once does a thing once; who comes meanwhile waits for its result. What failed is done again.
type once[T any] struct {
	mu    sync.Mutex
	done  bool
	value T
}

func (o *once[T]) do(what func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done {
		return o.value, nil
	}
	value, err := what()
	if err == nil {
		o.done, o.value = true, value
	}
	return value, err
}

// each calls do for 0 to n-1, a few at once, and returns the first error by index. After one no other begins.
func each(ctx context.Context, n, atOnce int, do func(context.Context, int) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := range next {
				if inner.Err() == nil {
					if errs[i] = do(inner, i); errs[i] != nil {
						cancel()
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) { // others ended for the sake of it
			first = err
		}
	}
	return first
}

// counted counts what is read.
type counted struct {
	io.Reader
	r *Remote
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.r.moved(n)
	return n, err
}

func readerOf(b []byte) io.Reader { return bytes.NewReader(b) }

// Shown is a remote's URL for people, without its parameters.
func Shown(at string) string { return bucket.Shown(at) }
