package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/schemas"
)

// openGGUF converts the file, unless the user's cache folder has it from before: under the hash of its bytes and the
// version of the conversion. It may be removed at any time: what is missing is made again.
func (f *modelFlags) openGGUF(c *cobra.Command, file string) (*openedModel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	st, err := f.openStore() // remembers the hashes of files that have not changed
	if err != nil {
		return nil, err
	}
	sources := st.Sources()
	defer sources.Save()
	hash, err := sources.Hash(file)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%s-%d", hash, schemas.Implementation("model.load"))
	cache = filepath.Join(cache, "hone-gguf")
	m := &openedModel{Input: job.Input{Kind: "model", Path: filepath.Join(cache, key)}, close: func() {}}
	if _, err := os.Stat(m.Path); err == nil {
		return m, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(cache, key+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	if _, err := os.Stat(m.Path); !errors.Is(err, fs.ErrNotExist) {
		return m, err // another process has just made it
	}
	killed, _ := filepath.Glob(filepath.Join(cache, "."+key+".tmp-*"))
	for _, dir := range killed {
		os.RemoveAll(dir)
	}
	return m, newFolder(m.Path, func(dir string) error {
		if err := gguf.Convert(c.Context(), file, dir, "auto", bytesBar(c.ErrOrStderr(), "converting "+file)); err != nil {
			return err
		}
		if after, err := sources.Hash(file); err != nil || after != hash {
			return errors.Join(err, fmt.Errorf("%s: changed while it was read", file))
		}
		return nil
	})
}
