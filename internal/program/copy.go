package program

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks bounds how deep folders lie within each other: a link to a folder above it would never end.
const maxLinks = 100

// CopyTree copies a file or folder to the path to. Links are followed: an artifact holds no path to elsewhere. Sockets,
// pipes and devices are errors. Only the owner's permission to execute is kept.
func CopyTree(from, to string) error { return copyAt(from, to, 0) }

func copyAt(from, to string, depth int) error {
	if depth > maxLinks {
		return fmt.Errorf("%s: folders within each other without end", filepath.Base(from))
	}
	info, err := os.Stat(from)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: no such file, or a link to none", filepath.Base(from))
		}
		return err
	}
	switch {
	case info.IsDir():
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := copyAt(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), depth+1); err != nil {
				return err
			}
		}
		return nil
	case info.Mode().IsRegular():
		return copyFile(from, to, info)
	}
	return fmt.Errorf("%s is neither a file nor a folder", filepath.Base(from))
}

// MoveTree is CopyTree that need not leave anything where it was: a file that has no other name is renamed. Links come
// first, while what they lead to is still in its place.
func MoveTree(from, to string) error {
	for _, links := range []bool{true, false} {
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, path)
			if isLink := d.Type() == fs.ModeSymlink; err != nil || isLink != links {
				return err
			}
			switch to := filepath.Join(to, rel); {
			case d.IsDir():
				return os.MkdirAll(to, 0o755)
			case onlyName(path):
				return moveFile(path, to)
			default:
				return copyAt(path, to, 0)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func moveFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if os.Rename(from, to) != nil {
		return copyFile(from, to, info)
	}
	return os.Chmod(to, modeOf(info))
}

func copyFile(from, to string, info fs.FileInfo) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, modeOf(info))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

func modeOf(info fs.FileInfo) fs.FileMode {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// onlyName reports whether the path is the file itself, not a link, and the file has no other name: one that is a hard
// link to an artifact in the store must not become a second way to write to it.
func onlyName(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 1
}
