package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// syncer groups calls of flush: those that arrive while one is under way share the next.
type syncer struct {
	dir string

	mu      sync.Mutex
	waiting *flushing
	running bool
}

type flushing struct {
	done chan struct{}
	err  error
}

// wait returns once everything written before the call is durable.
func (s *syncer) wait() error {
	s.mu.Lock()
	if s.waiting == nil {
		s.waiting = &flushing{done: make(chan struct{})}
	}
	mine := s.waiting
	if !s.running {
		s.running = true
		go s.loop()
	}
	s.mu.Unlock()
	<-mine.done
	return mine.err
}

func (s *syncer) loop() {
	for {
		s.mu.Lock()
		f := s.waiting
		s.waiting = nil
		if f == nil {
			s.running = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		f.err = flush(s.dir)
		close(f.done)
	}
}

// Commit makes a record, with the log folder that it takes over, durable and visible: the artifacts first, then the
// record, then it returns. A crash before that leaves no record, and the stage runs again. A record of the same key
// and numerics is replaced.
func (s *Store) Commit(r *Record, log string) error {
	dir, err := os.MkdirTemp(s.path("tmp"), "record-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // where it does not become the record's
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "record.json"), b, 0o644); err != nil {
		return err
	}
	if log != "" {
		if err := os.Rename(log, filepath.Join(dir, "log")); err != nil {
			return err
		}
	}
	if err := s.sync.wait(); err != nil { // the artifacts and the record's own bytes, before its name
		return err
	}
	place := s.recordDir(r)
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	err = os.Rename(dir, place)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		old, tmpErr := os.MkdirTemp(s.path("tmp"), "old-")
		if tmpErr != nil {
			return tmpErr
		}
		defer os.RemoveAll(old)
		if err := os.Rename(place, filepath.Join(old, "record")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = os.Rename(dir, place)
	}
	if err != nil {
		return err
	}
	return s.sync.wait()
}
