package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// flush makes everything durable that was written to the file system of dir: one call for many small files.
func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "sync", Path: dir, Err: err}
	}
	return nil
}
