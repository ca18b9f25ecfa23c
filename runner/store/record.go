package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/internal/job"
)

// Record is what one run of a key gave. Positions are not in it: they are found anew from the source. Names of sources are what a
// person knows them by, for provenance; nothing is opened by them.
type Record struct {
	Key         string             `json:"key"`
	Kind        string             `json:"kind"`
	Pipeline    string             `json:"pipeline"`
	Ref         string             `json:"ref"` // of the pipeline's folder: names of pipelines need not be unique
	Stage       string             `json:"stage"`
	Ingredients []Ingredient       `json:"ingredients"` // sorted by field
	Numerics    *job.Numerics      `json:"numerics,omitempty"`
	Outputs     map[string]Output  `json:"outputs"` // by port
	Metrics     map[string]float64 `json:"metrics,omitempty"`
	Started     time.Time          `json:"started"`
	Seconds     float64            `json:"seconds"`
	Memory      int64              `json:"memory,omitempty"` // bytes at the peak of its process; 0 is not known
	Resumed     bool               `json:"resumed,omitempty"`
	Sources     map[string]string  `json:"sources,omitempty"` // by field, as the pipeline names them; a folder's ends in /, an absolute path is its last element
	Version     string             `json:"version"`           // of hone
	Smoke       bool               `json:"smoke,omitempty"`   // it counts for smokes alone, and is kept apart
	Prefix      string             `json:"prefix,omitempty"`  // the key under which a training's last state is kept for a longer one
}

// Ingredient is one part of a key. From says where it comes from: stage, config, input or source.
type Ingredient struct {
	From  string          `json:"from"`
	Field string          `json:"field"`
	Value json.RawMessage `json:"value"` // canonical JSON
}

// Output is an artifact that a run made.
type Output struct {
	Kind string `json:"kind"`
	Hash string `json:"hash"`
}

// recordDir tells the records of one key apart by what their bits depend on besides the key.
func (s *Store) recordDir(r *Record) string {
	b, err := json.Marshal(r.Numerics)
	if err != nil {
		panic(err) // three strings and an int
	}
	return s.path(recordsOf(r.Smoke), r.Key, Sum(b)[:16])
}

// LogDir is the folder of what varied in the run: metrics.jsonl, stderr.txt, event files.
func (s *Store) LogDir(r *Record) string { return filepath.Join(s.recordDir(r), "log") }

// Records reads what is known of a key, the first run first.
func (s *Store) Records(key string) ([]*Record, error) {
	records, err := s.recordsIn(recordsOf(false), key)
	if err == nil && s.smoke {
		var more []*Record
		more, err = s.recordsIn(recordsOf(true), key)
		records = append(records, more...)
	}
	slices.SortStableFunc(records, func(a, b *Record) int { return a.Started.Compare(b.Started) })
	return records, err
}

func (s *Store) recordsIn(folder, key string) ([]*Record, error) {
	names, err := s.list(filepath.Join(folder, key))
	if err != nil {
		return nil, err
	}
	var records []*Record
	for _, name := range names {
		path := s.path(folder, key, name, "record.json")
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // replaced this very moment
		}
		if err != nil {
			return nil, err
		}
		r := new(Record)
		if err := json.Unmarshal(b, r); err != nil || r.Key != key {
			// A record that cannot be read is as good as none: the stage runs again. fsck names it.
			continue
		}
		records = append(records, r)
	}
	return records, nil
}

// AllRecords reads every record, the oldest first; for a smoke those of smokes.
func (s *Store) AllRecords() ([]*Record, error) {
	return s.allRecords(recordsOf(s.smoke))
}

func (s *Store) allRecords(folder string) ([]*Record, error) {
	keys, err := s.list(folder)
	if err != nil {
		return nil, err
	}
	found := make([][]*Record, len(keys))
	if err := Parallel(len(keys), func(i int) (err error) {
		found[i], err = s.recordsIn(folder, keys[i])
		return err
	}); err != nil {
		return nil, err
	}
	records := slices.Concat(found...)
	slices.SortStableFunc(records, func(a, b *Record) int { return a.Started.Compare(b.Started) })
	return records, nil
}

// Named is what the beginning of a key or hash means: a record, or an artifact with the last record that made it.
type Named struct {
	Record *Record
	Hash   string // what begins so
	Port   string // of an artifact
}

// Named finds the keys of records and the hashes of artifacts that begin so, each once.
func (s *Store) Named(prefix string) ([]Named, error) {
	records, err := s.AllRecords()
	if err != nil {
		return nil, err
	}
	found := map[string]Named{}
	for _, r := range records { // the oldest first
		if strings.HasPrefix(r.Key, prefix) {
			found[r.Key] = Named{r, r.Key, ""}
		}
		for port, out := range r.Outputs {
			if strings.HasPrefix(out.Hash, prefix) {
				found[out.Hash] = Named{r, out.Hash, port}
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Named) int { return strings.Compare(a.Hash, b.Hash) }), nil
}

// Input is the hash of what a record's run read at a field, empty where it had none there.
func (r *Record) Input(field string) string {
	for _, in := range r.Ingredients {
		var hash string
		if in.From == "input" && in.Field == field && json.Unmarshal(in.Value, &hash) == nil {
			return hash
		}
	}
	return ""
}
