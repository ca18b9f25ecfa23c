package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is an flock that this process holds. A child that inherits File holds it too, until it ends: there is nothing
// to clean up after a crash. It is advisory, and does not reach other machines.
type Lock struct {
	File *os.File
	ours bool // no child is to hold it
}

// Lock waits for the lock of a key. Where it has to wait it calls held once, with the id of the process that has it
// (0 where unknown).
func (s *Store) Lock(ctx context.Context, key string, held func(pid int)) (*Lock, error) {
	for waited := false; ; waited = true {
		lock, err := s.tryLock(key, unix.LOCK_EX)
		if err != nil || lock != nil {
			return lock, err
		}
		if !waited && held != nil {
			b, _ := os.ReadFile(s.path("locks", key))
			pid, _ := strconv.Atoi(string(b))
			held(pid)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Use marks the store as in use until the lock is closed: GC keeps away. Many may hold it. The first to come removes
// what killed processes left.
func (s *Store) Use() (*Lock, error) {
	alone, err := s.tryLock("store", unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	if alone != nil {
		err := s.tidy()
		if err = errors.Join(err, alone.Close()); err != nil {
			return nil, err
		}
	}
	for range 200 { // another may be tidying; gc takes longer
		lock, err := s.tryLock("store", unix.LOCK_SH)
		if err != nil || lock != nil {
			return lock, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.New("hone gc is at work in this store: try again when it has ended")
}

// Held says whether a process is at the key.
func (s *Store) Held(key string) bool { return s.held(key, unix.LOCK_SH) }

// held says whether a lock cannot be had in a way. It writes nothing, and so serves on a read-only store.
func (s *Store) held(name string, how int) bool {
	f, err := os.Open(s.path("locks", name))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), how|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// tryLock takes a lock, or returns nil where another holds it.
func (s *Store) tryLock(name string, how int) (*Lock, error) {
	path := s.path("locks", name)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, s.readOnly(err)
		}
		if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// GC may have removed the file between open and flock: a lock on a file without a name locks nobody out.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) {
			f.Close()
			continue
		}
		if how == unix.LOCK_EX {
			if err := f.Truncate(0); err == nil {
				_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for people: the lock holds without it
			}
		}
		return &Lock{f, name == "store"}, nil
	}
}

// Close gives this process's hold up.
func (l *Lock) Close() error {
	if l.ours { // a child that is being started has the file until it is another program
		_ = unix.Flock(int(l.File.Fd()), unix.LOCK_UN)
	}
	return l.File.Close()
}

// ReadOnlyError is a store that this process may not write to (exit code 6).
type ReadOnlyError struct{ Dir string }

func (e *ReadOnlyError) Error() string { return e.Dir + ": the store is read-only" }

// readOnly says so of the store in place of the file in it that could not be made.
func (s *Store) readOnly(err error) error {
	if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		return &ReadOnlyError{s.Dir}
	}
	return err
}
