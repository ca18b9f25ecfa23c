// Package store keeps artifacts by the hash of their content, and the records of what made them.
//
//	object      a file's bytes, read-only, named by their BLAKE3-256 (with ".x" where the file may be executed)
//	manifest    the sorted list of an artifact's files: object, mode, path; an object itself
//	tree        an artifact: a folder of hard links to objects, named by the hash of its manifest
//	record      what one run of a key gave: its ingredients, outputs, metrics and log
//	ref         what the last run of a pipeline's folder used: the roots of GC
//	lock        an flock on a key, held by the runner and the worker; it ends with the processes that hold it
//	stat cache  device, inode, size and mtime of a tree's files when they were last hashed
//
// The layout, all below one folder:
//
//	hone-store  tmp/  objects/<hash>  trees/<hash>/  records/<key>/<numerics>/  refs/<id>  checkpoints/<key>/  locks/<key>  stat/
//	smoke/      records and checkpoints of smokes
//
// Many processes may use one store on one machine. What is written becomes visible by one rename or link, so a
// reader sees a whole artifact or none. Network file systems are not safe: flock and rename promise less there.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/job"
)

// Store is a folder of artifacts. The zero value is not usable: Open makes one.
type Store struct {
	Dir string

	smoke    bool // see Smoke
	sync     syncer
	mu       sync.Mutex
	verified map[identity]string // files hashed by this process, and what they hashed to
}

// marker is the file that says that a folder is a store: what is in it is hone's to remove.
const marker = "hone-store"

var folders = []string{"tmp", "objects", "trees", "records", "refs", "checkpoints", "locks", "stat"}

// ErrNoStore is that of Open where the folder is somebody else's.
var ErrNoStore = errors.New("not a store of hone's, and not empty: name a new or an empty folder")

// Open names the store in dir, which need not exist: a store that is not there has nothing in it.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(abs); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("store %s: not a folder", abs)
	}
	if ours, err := owned(abs); err != nil {
		return nil, err
	} else if !ours {
		return nil, fmt.Errorf("store %s: %w", abs, ErrNoStore)
	}
	return &Store{Dir: abs, sync: syncer{dir: abs}, verified: map[identity]string{}}, nil
}

// owned says whether a folder is a store or can become one: it has the marker, or nothing at all, or each of a store's folders
// and nothing besides, as stores had that were made before there was a marker.
func owned(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	theirs := 0
	for _, e := range entries {
		if e.Name() == marker {
			return true, nil
		}
		if !slices.Contains(folders, e.Name()) {
			theirs++
		}
	}
	return len(entries) == 0 || theirs == 0 && len(entries) == len(folders), nil
}

// Init makes the store's folders, the marker first, so that a store half made is known for one.
func (s *Store) Init() error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return s.readOnly(err)
	}
	file := s.path(marker)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(file, []byte("A store of hone's: hone removes what it finds in these folders.\n"), 0o644); err != nil {
			return s.readOnly(err)
		}
	}
	for _, name := range folders {
		if err := os.MkdirAll(s.path(name), 0o755); err != nil {
			return s.readOnly(err)
		}
	}
	return nil
}

// Find is the folder of the store that a command uses: the flag, HONE_STORE, the nearest .hone in the working folder
// or above it, and else a folder in the user's cache. by says which of them it was, and how to name another.
func Find(flag string) (dir, by string, err error) {
	if flag != "" {
		dir, err = filepath.Abs(flag)
		return dir, "by --store", err
	}
	if env := os.Getenv("HONE_STORE"); env != "" {
		dir, err = filepath.Abs(env)
		return dir, "by HONE_STORE", err
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if info, err := os.Stat(filepath.Join(dir, ".hone")); err == nil && info.IsDir() {
			return filepath.Join(dir, ".hone"), "the nearest .hone; --store or HONE_STORE names another", nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", fmt.Errorf("no place for a store: %w; set HONE_STORE", err)
	}
	return filepath.Join(cache, "hone"), "no .hone here or above; --store or HONE_STORE names another", nil
}

func (s *Store) path(elem ...string) string {
	if s.smoke && elem[0] == "checkpoints" {
		elem = append([]string{smokeFolder}, elem...)
	}
	return filepath.Join(append([]string{s.Dir}, elem...)...)
}

// Tree is the folder of the artifact with that hash. It may be gone: Check tells.
func (s *Store) Tree(hash string) string { return s.path("trees", hash) }

// Checkpoints is where an unfinished stage of a key keeps what its next attempt goes on with. Another device or number
// of threads has a place of its own: its bits are others.
func (s *Store) Checkpoints(key string, n job.Numerics) string {
	return s.path("checkpoints", key, fmt.Sprintf("%s-%d", n.Device, n.Threads))
}

// Job makes an empty folder for one attempt at key. Only the holder of the key's lock may call it: what earlier
// attempts left is removed.
func (s *Store) Job(key string) (string, error) {
	old, err := filepath.Glob(s.path("tmp", key+"-*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return "", err
		}
	}
	return os.MkdirTemp(s.path("tmp"), key+"-")
}

// Free is the bytes that the store's disk has left; 0 where it cannot be asked.
func (s *Store) Free() int64 {
	var st unix.Statfs_t
	if unix.Statfs(s.Dir, &st) != nil {
		return 0
	}
	return int64(uint64(st.Bavail) * uint64(st.Bsize))
}

// Size is a number of bytes as people read it.
func Size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n)/unit, "KMGTPE"
	for value >= unit && len(names) > 1 {
		value, names = value/unit, names[1:]
	}
	return fmt.Sprintf("%.1f %ciB", value, names[0])
}

// writeFile puts content at path by a rename, so that a reader sees all of it or what was there before.
func (s *Store) writeFile(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(s.path("tmp"), "write-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// list names the entries of a folder of the store; one that is not there has none.
func (s *Store) list(name string) ([]string, error) {
	entries, err := os.ReadDir(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}
