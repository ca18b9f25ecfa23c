package provenance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Files is every file below a folder with its sha256, sorted by path. Links are told, and so is whatever is neither file nor
// folder: neither has bytes of its own to vouch for. skip names paths that are not looked at, folders with all below them.
func Files(ctx context.Context, dir string, skip func(path string) bool, progress func(done, total int64)) ([]Resource, []Problem, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	var files []Resource
	var odd []Problem
	var total int64
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if path != "." && skip != nil && skip(path) {
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err != nil {
			if path == "." {
				return err
			}
			odd = append(odd, Problem{path, "cannot be read: " + cause(err)})
			return nil
		}
		switch {
		case d.IsDir():
		case d.Type() == fs.ModeSymlink:
			odd = append(odd, Problem{path, "a link, not a file"})
		case !d.Type().IsRegular():
			odd = append(odd, Problem{path, "not a regular file"})
		default:
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
			files = append(files, Resource{Name: path})
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, nil, err
	}
	bad, err := sums(ctx, root, files, func() func(int64) {
		var mu sync.Mutex
		var done int64
		return func(n int64) {
			mu.Lock()
			defer mu.Unlock()
			if done += n; progress != nil {
				progress(done, max(done, total))
			}
		}
	}())
	files = slices.DeleteFunc(files, func(f Resource) bool { return f.Digest == nil })
	return files, append(odd, bad...), err
}

// sums fills in the digests, a few files at once. One that cannot be read gets none.
func sums(ctx context.Context, root *os.Root, files []Resource, add func(int64)) ([]Problem, error) {
	var mu sync.Mutex
	var bad []Problem
	var wait sync.WaitGroup
	next := make(chan int)
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		wait.Go(func() {
			for i := range next {
				sum, err := sum(ctx, root, files[i].Name, add)
				if err == nil {
					files[i].Digest = map[string]string{"sha256": sum}
					continue
				}
				mu.Lock()
				bad = append(bad, Problem{files[i].Name, "cannot be read: " + cause(err)})
				mu.Unlock()
			}
		})
	}
	for i := range files {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return bad, ctx.Err()
}

func sum(ctx context.Context, root *os.Root, name string, add func(int64)) (string, error) {
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s: not a regular file", name)
	}
	h := sha256.New()
	for {
		n, err := io.CopyN(h, f, 16<<20) // between pieces an interruption is noticed
		add(n)
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
	}
}

// cause is an error of the file system without the path, which stands before it already.
func cause(err error) string {
	message := err.Error()
	if i := strings.LastIndex(message, ": "); i >= 0 {
		message = message[i+2:]
	}
	return message
}
