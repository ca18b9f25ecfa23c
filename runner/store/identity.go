package store

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// identity says whether a file is still the one that was hashed. Ctime is left out: linking a file changes it.
type identity struct {
	Dev, Ino uint64
	Size     int64
	Mtime    int64 // nanoseconds
}

// lstat reads a file's identity, its ctime in nanoseconds and its number of links, without following a link.
func lstat(path string) (id identity, ctime int64, links uint64, err error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return identity{}, 0, 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	return identityOf(&st), unix.TimespecToNsec(st.Ctim), uint64(st.Nlink), nil
}

func identityOf(st *unix.Stat_t) identity {
	return identity{Dev: uint64(st.Dev), Ino: st.Ino, Size: st.Size, Mtime: unix.TimespecToNsec(st.Mtim)}
}

// buffers are what files are read into: large for large ones, and many files are small.
var buffers = sync.Pool{New: func() any { return new([piece]byte) }}

// hashFile is the BLAKE3-256 of a regular file's bytes. A file that changes while it is read is an error.
func hashFile(path string) (string, identity, error) {
	before, _, _, err := lstat(path)
	if err != nil {
		return "", identity{}, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", identity{}, err
	}
	defer f.Close()
	hash, err := hashOpen(f, before.Size)
	if err != nil {
		return "", identity{}, err
	}
	after, _, _, err := lstat(path)
	if err != nil {
		return "", identity{}, err
	}
	if before != after {
		return "", identity{}, fmt.Errorf("%s: changed while it was read", path)
	}
	return hash, after, nil
}

// hashOpen is the hash of an open file of so many bytes.
func hashOpen(f *os.File, size int64) (string, error) {
	if size >= shared {
		hash, err := sum(f, size)
		return hex.EncodeToString(hash[:]), err
	}
	h := blake3.New()
	buffer := buffers.Get().(*[piece]byte)
	defer buffers.Put(buffer)
	_, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buffer[:])
	return hex.EncodeToString(h.Sum(nil)), err
}

// hashOnce is hashFile, done once a process for a file whose identity stays.
func (s *Store) hashOnce(path string) (string, error) {
	id, _, _, err := lstat(path)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	hash, ok := s.verified[id]
	s.mu.Unlock()
	if ok {
		return hash, nil
	}
	hash, id, err = hashFile(path)
	if err != nil {
		return "", err
	}
	s.trust(id, hash)
	return hash, nil
}

func (s *Store) trust(id identity, hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[id] = hash
}
