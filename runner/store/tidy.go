package store

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tidy removes what killed processes left in tmp, and the state of stages that had their record already. The caller
// holds the store alone; a worker that outlived its runner still holds its key, and its folders stay.
func (s *Store) tidy() error {
	names, err := s.list("tmp")
	if err != nil {
		return err
	}
	for _, name := range names {
		if info, err := os.Stat(s.path("tmp", name)); err == nil && strings.HasPrefix(name, partPrefix) && time.Since(info.ModTime()) < partKept {
			continue // the next pull goes on with it
		}
		err := s.unlessLocked(name, func() error { return os.RemoveAll(s.path("tmp", name)) })
		if err != nil {
			return err
		}
	}
	keys, err := s.list("checkpoints")
	if err != nil {
		return err
	}
	for _, key := range keys {
		records, err := s.Records(key)
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Numerics == nil {
				continue
			}
			err := s.unlessLocked(key, func() error {
				err := os.RemoveAll(s.Checkpoints(key, *r.Numerics))
				os.Remove(s.path("checkpoints", key)) // stays where another device's state is in it
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// unlessLocked does what it is told where nobody holds the key that name begins with. Other names have no lock.
func (s *Store) unlessLocked(name string, do func() error) error {
	if key, _, _ := strings.Cut(name, "-"); IsHash(key) {
		lock, err := s.tryLock(key, unix.LOCK_EX)
		if err != nil || lock == nil {
			return err
		}
		defer lock.Close()
	}
	return do()
}
