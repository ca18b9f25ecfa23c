// Package atomicfile writes files that are there whole or not at all, whatever ends the process or the machine.
package atomicfile

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// unfinished is the names of files that are being written, beside their places: a rename stays within a file system.
const unfinished = ".writing-*"

// Write puts content at path, or leaves what is there. It is on the disk once Write has returned. Errors name path.
func Write(path string, content []byte, perm fs.FileMode) error {
	return Stream(path, perm, func(w io.Writer) error { _, err := w.Write(content); return err })
}

// Stream is Write of what fill writes, by way of a buffer. An error of fill's own comes back as it is.
func Stream(path string, perm fs.FileMode, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished)
	if err != nil {
		return of(path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(disk{path, f}, 1<<20)
	if err := fill(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(perm), f.Sync(), f.Close()); err != nil {
		return of(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return of(path, err)
	}
	return of(path, syncFolder(filepath.Dir(path)))
}

// Sweep removes what killed writers left in a folder. Nobody may be writing there.
func Sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinished))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// disk is the temporary file under the name that it will have.
type disk struct {
	path string
	f    *os.File
}

func (d disk) Write(b []byte) (int, error) {
	n, err := d.f.Write(b)
	return n, of(d.path, err)
}

// syncFolder makes a rename durable, where the file system can: some of a network say that a folder is no file.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// of is an error of the temporary file as one of path: nobody knows the other name.
func of(path string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &fs.PathError{Op: "write", Path: path, Err: errno}
	}
	return err
}
