package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/blake3"
)

const manifestHead = "hone tree 1\n"

// entry is a line of a manifest: a file of a tree.
type entry struct {
	path string // relative, with slashes
	exec bool
	hash string
}

// object is the name of the entry's bytes in objects/. Mode is a property of the inode, so the two modes are two files.
func (e entry) object() string {
	if e.exec {
		return e.hash + ".x"
	}
	return e.hash
}

// encode is the manifest of entries, which it sorts. Its hash is the tree's.
func encode(entries []entry) []byte {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	var b bytes.Buffer
	b.WriteString(manifestHead)
	for _, e := range entries {
		mode := "-"
		if e.exec {
			mode = "x"
		}
		fmt.Fprintf(&b, "%s %s %s\n", e.hash, mode, strconv.QuoteToASCII(e.path))
	}
	return b.Bytes()
}

// decode is the inverse of encode. It refuses paths that would leave the tree.
func decode(manifest []byte) ([]entry, error) {
	text, ok := strings.CutPrefix(string(manifest), manifestHead)
	if !ok {
		return nil, errors.New("not a manifest")
	}
	var entries []entry
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(parts) != 3 || !IsHash(parts[0]) || parts[1] != "-" && parts[1] != "x" {
			return nil, fmt.Errorf("not a line of a manifest: %q", line)
		}
		path, err := strconv.Unquote(parts[2])
		if err != nil || !filepath.IsLocal(path) {
			return nil, fmt.Errorf("not a path inside a tree: %s", parts[2])
		}
		entries = append(entries, entry{path: path, exec: parts[1] == "x", hash: parts[0]})
	}
	return entries, nil
}

// manifest reads the files of a tree.
func (s *Store) manifest(hash string) ([]entry, error) {
	b, err := os.ReadFile(s.path("objects", hash))
	if err != nil {
		return nil, err
	}
	if Sum(b) != hash {
		return nil, fmt.Errorf("objects/%s: its bytes have changed", hash)
	}
	entries, err := decode(b)
	if err != nil {
		return nil, fmt.Errorf("objects/%s: %w", hash, err)
	}
	return entries, nil
}

// Sum is the BLAKE3-256 of b in lower-case hex.
func Sum(b []byte) string {
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// IsHash says whether s is a hash or key as this package writes it.
func IsHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
