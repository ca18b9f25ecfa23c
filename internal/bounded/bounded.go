// Package bounded reads whole files and streams up to a size, since running out of memory cannot be recovered from.
package bounded

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Input is how many bytes are read of what a user gives as one conversation, prompt or the like.
const Input = 64 << 20

// ReadFile is os.ReadFile for a file of at most limit bytes, whatever its kind: a device may never end. Errors name the file.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := Read(f, limit)
	if named := (*os.PathError)(nil); err != nil && !errors.As(err, &named) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return b, err
}

// Read is io.ReadAll for at most limit bytes.
func Read(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("over %d MiB", limit>>20)
	}
	return b, err
}
