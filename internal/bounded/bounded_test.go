package bounded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for size, want := range map[int]string{1 << 20: "", 1<<20 + 1: "over 1 MiB"} {
		text := strings.Repeat("a", size)
		if b, err := Read(strings.NewReader(text), 1<<20); message(err) != want || want == "" && string(b) != text {
			t.Errorf("%d: %d bytes, %v", size, len(b), err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = path + ": " + want
		}
		if b, err := ReadFile(path, 1<<20); message(err) != want || want == "" && string(b) != text {
			t.Errorf("%d: %d bytes, %v", size, len(b), err)
		}
	}
	if _, err := ReadFile(filepath.Dir(path), 1<<20); err == nil || strings.Count(err.Error(), filepath.Dir(path)) != 1 {
		t.Errorf("a folder: %v", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
