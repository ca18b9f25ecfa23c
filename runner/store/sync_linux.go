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

// soon begins to write a file to the disk, which takes as long as hashing it: both are done at once.
func soon(path string) {
	if f, err := os.Open(path); err == nil {
		_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // else all of it is the sync's
		_ = f.Close()
	}
}
