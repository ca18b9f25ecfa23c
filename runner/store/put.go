package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrEmpty is an artifact without a file.
var ErrEmpty = errors.New("nothing was written")

// Put takes the folder dir into the store as an artifact and returns its hash. Files are linked, not copied, where
// no other name leads to them; dir is to be thrown away afterwards. Empty folders are not part of an artifact.
// Links that lead outside dir, links to folders, fifos, sockets and devices are refused: an artifact is its bytes.
//
// What Put places is whole but not yet durable: Commit makes it so.
func (s *Store) Put(dir string) (string, error) {
	files, err := walk(dir)
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", ErrEmpty
	}
	entries := make([]entry, len(files))
	if err := Parallel(len(files), func(i int) (err error) {
		entries[i], err = s.putFile(dir, files[i])
		return err
	}); err != nil {
		return "", err
	}
	manifest := encode(entries)
	hash := Sum(manifest)
	if err := s.putBytes(hash, manifest); err != nil {
		return "", err
	}
	return hash, s.link(hash, entries)
}

// walk lists the regular files below dir, and the links among them that stay inside.
func walk(dir string) ([]string, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch d.Type() {
		case 0:
		case fs.ModeSymlink:
			to, err := filepath.EvalSymlinks(path)
			if err != nil {
				return fmt.Errorf("%s: a link that leads nowhere", rel)
			}
			if !strings.HasPrefix(to, root+string(filepath.Separator)) {
				return fmt.Errorf("%s: a link that leads outside the artifact; write the file itself", rel)
			}
			if info, err := os.Lstat(to); err != nil || !info.Mode().IsRegular() {
				return fmt.Errorf("%s: a link to what is not a file", rel)
			}
		default:
			return fmt.Errorf("%s: a %s cannot be part of an artifact", rel, typeName(d.Type()))
		}
		files = append(files, rel)
		return nil
	})
	return files, err
}

func typeName(mode fs.FileMode) string {
	switch mode {
	case fs.ModeNamedPipe:
		return "named pipe"
	case fs.ModeSocket:
		return "socket"
	}
	return "device"
}

// putFile places one file of dir among the objects.
func (s *Store) putFile(dir, rel string) (entry, error) {
	path := filepath.Join(dir, rel)
	info, err := os.Stat(path)
	if err != nil {
		return entry{}, err
	}
	e := entry{path: filepath.ToSlash(rel), exec: info.Mode()&0o111 != 0}
	id, _, links, err := lstat(path)
	if err != nil {
		return entry{}, err
	}
	s.mu.Lock()
	known, ours := s.verified[id]
	s.mu.Unlock()
	if ours { // a hard link to an object: a model with a new template does not hash its weights again
		e.hash = known
		if same(path, s.path("objects", e.object())) {
			return e, nil
		}
	}
	// Another name leads to the file, so its bytes may change behind our back: take a copy.
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink != 0 || links > 1 {
		if path, err = s.copyFile(path); err != nil {
			return entry{}, err
		}
		defer os.Remove(path)
	}
	mode := fs.FileMode(0o444)
	if e.exec {
		mode = 0o555
	}
	if err := os.Chmod(path, mode); err != nil {
		return entry{}, err
	}
	if id.Size >= shared {
		soon(path)
	}
	hash, id, err := hashFile(path)
	if err != nil {
		return entry{}, err
	}
	e.hash = hash
	return e, s.adopt(path, id, e)
}

// adopt gives the hashed file at path its name among the objects. An object of that name is taken instead where its
// bytes are right, and replaced where they are not.
func (s *Store) adopt(path string, id identity, e entry) error {
	object := s.path("objects", e.object())
	for {
		err := os.Link(path, object)
		if err == nil {
			s.trust(id, e.hash)
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if hash, err := s.hashOnce(object); err == nil && hash == e.hash {
			return nil
		}
		if err := os.Remove(object); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

func (s *Store) putBytes(hash string, content []byte) error {
	object := s.path("objects", hash)
	if b, err := os.ReadFile(object); err == nil && Sum(b) == hash {
		return nil
	}
	return s.writeFile(object, content, 0o444)
}

// link makes the folder of a tree whose objects are all there. One that is there already is looked through.
func (s *Store) link(hash string, entries []entry) error {
	tmp, err := os.MkdirTemp(s.path("tmp"), "tree-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(tmp, filepath.FromSlash(e.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := s.linkObject(e, path); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, s.Tree(hash)); err == nil {
		return s.writeStat(hash, entries)
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.Verify(hash)
}

// linkObject gives an object the name path. A file system bounds the names of a file (65,000 on ext4): then it copies.
func (s *Store) linkObject(e entry, path string) error {
	object := s.path("objects", e.object())
	err := os.Link(object, path)
	if !errors.Is(err, unix.EMLINK) {
		return err
	}
	tmp, err := s.copyFile(object)
	if err != nil {
		return err
	}
	info, err := os.Stat(object)
	if err == nil {
		err = os.Chmod(tmp, info.Mode())
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

func (s *Store) copyFile(path string) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.CreateTemp(s.path("tmp"), "copy-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(out.Name())
	}
	return out.Name(), err
}

func same(a, b string) bool {
	x, err := os.Lstat(a)
	if err != nil {
		return false
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y)
}

// Parallel calls do for 0 to n-1 on a few goroutines and returns the first error by index.
func Parallel(n int, do func(int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				errs[i] = do(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
