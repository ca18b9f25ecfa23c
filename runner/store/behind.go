package store

import (
	"io/fs"
	"path/filepath"
	"time"
)

const (
	behindEvery = 200 * time.Millisecond
	behindFiles = 1000 // beyond which a folder is left to Commit's sync: it holds small files
)

// Behind begins, while a stage still writes below dir, to write its large files to the disk, so that little is left for Commit to wait
// for. It is over when stop is called.
func Behind(dir string) (stop func()) {
	end := make(chan struct{})
	go func() {
		tick := time.NewTicker(behindEvery)
		defer tick.Stop()
		sizes := map[string]int64{}
		for {
			select {
			case <-end:
				return
			case <-tick.C:
			}
			files := 0
			_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if files++; err != nil || files > behindFiles {
					return fs.SkipAll
				}
				if !d.Type().IsRegular() {
					return nil
				}
				if info, err := d.Info(); err == nil && info.Size() >= shared && info.Size() != sizes[path] {
					sizes[path] = info.Size()
					soon(path)
				}
				return nil
			})
			if files > behindFiles {
				return
			}
		}
	}()
	return func() { close(end) }
}
