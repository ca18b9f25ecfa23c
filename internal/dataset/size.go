package dataset

import "os"

// Size is the bytes of the source's files; 0 where they cannot be looked at.
func (s *Source) Size() (bytes int64) {
	if s.open() != nil {
		return 0
	}
	for _, f := range s.files {
		if info, err := os.Stat(f.path); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}
