//go:build !linux

package store

import (
	"os"
	"path/filepath"
)

// flush makes what was written below dir durable, file by file: only Linux has a call for all of them. The
// folders of read-only content are few and new; files synced before cost little.
func flush(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// soon does nothing: other systems cannot begin to write a file and go on.
func soon(string) {}
