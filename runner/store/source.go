package store

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// racy is how close to its hashing a file may have changed without a trace: file systems date files by clocks as
// coarse as two seconds. Such an entry is not trusted, as git does not trust a racy index entry.
const racy = int64(2 * time.Second)

// sourceStat is what a user's file looked like when it was hashed, and when that began.
type sourceStat struct {
	identity
	Ctime int64
	Began int64
	Hash  string
}

// Sources hashes files and folders of the user's. A file whose device, inode, size, mtime and ctime are those of its
// last hashing is not read again.
type Sources struct {
	store *Store
	mu    sync.Mutex
	known map[string]sourceStat
	dirty bool
}

// Sources reads the store's cache of source files.
func (s *Store) Sources() *Sources {
	c := &Sources{store: s, known: map[string]sourceStat{}}
	if b, err := os.ReadFile(s.path("stat", "sources")); err == nil {
		if json.Unmarshal(b, &c.known) != nil {
			c.known = map[string]sourceStat{} // torn: hash anew
		}
	}
	return c
}

// Save writes the cache, where the store is there.
func (c *Sources) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := os.Stat(c.store.path("stat")); !c.dirty || err != nil {
		return nil
	}
	for path := range c.known {
		if _, err := os.Lstat(path); err != nil {
			delete(c.known, path)
		}
	}
	b, err := json.Marshal(c.known)
	if err != nil {
		return err
	}
	c.dirty = false
	return c.store.writeFile(c.store.path("stat", "sources"), b, 0o644)
}

// Hash is the hash of a file's bytes, or of a folder as an artifact would have it, except that links are followed
// wherever they lead, as a hub's cache has them.
func (c *Sources) Hash(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return c.file(real)
	}
	files, err := follow(real)
	if err != nil {
		return "", err
	}
	entries := make([]entry, len(files))
	if err := Parallel(len(files), func(i int) error {
		real, err := filepath.EvalSymlinks(files[i].path)
		if err != nil {
			return err
		}
		info, err := os.Stat(real)
		if err != nil {
			return err
		}
		hash, err := c.file(real)
		entries[i] = entry{path: filepath.ToSlash(files[i].rel), exec: info.Mode()&0o111 != 0, hash: hash}
		return err
	}); err != nil {
		return "", err
	}
	return Sum(encode(entries)), nil
}

func (c *Sources) file(path string) (string, error) {
	id, ctime, _, err := lstat(path)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	known, ok := c.known[path]
	c.mu.Unlock()
	if ok && known.identity == id && known.Ctime == ctime && max(id.Mtime, ctime) < known.Began-racy {
		return known.Hash, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return "", fmt.Errorf("%s: neither a file nor a folder", path)
	}
	began := time.Now().UnixNano()
	hash, id, err := hashFile(path)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	c.known[path] = sourceStat{id, ctime, began, hash}
	c.dirty = true
	c.mu.Unlock()
	return hash, nil
}

type sourceFile struct{ path, rel string }

// sourceLimit bounds the entries of a folder source: links that fan out would list files without end.
const sourceLimit = 1 << 20

// follow lists the files below a folder, through links. A link to a folder that it lies in would go round for ever.
func follow(dir string) ([]sourceFile, error) {
	var files []sourceFile
	seen := 0
	var walk func(dir, rel string, above []string) error
	walk = func(dir, rel string, above []string) error {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return err
		}
		for _, a := range above {
			if a == real {
				return fmt.Errorf("%s: a link to a folder that it lies in", strings.TrimSuffix(dir, "/"))
			}
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		if seen += len(entries); seen > sourceLimit {
			return fmt.Errorf("%s: more than %d files", dir, sourceLimit)
		}
		for _, e := range entries {
			path, below := filepath.Join(dir, e.Name()), filepath.Join(rel, e.Name())
			info, err := os.Stat(path)
			switch {
			case err != nil:
				return err
			case info.IsDir():
				if err := walk(path, below, append(above, real)); err != nil {
					return err
				}
			case info.Mode().IsRegular():
				files = append(files, sourceFile{path, below})
			default:
				return fmt.Errorf("%s: a %s cannot be a source", path, typeName(info.Mode()&fs.ModeType))
			}
		}
		return nil
	}
	return files, walk(dir, "", nil)
}
