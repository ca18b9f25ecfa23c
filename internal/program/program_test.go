package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMemoryIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems cannot limit another process")
	}
	for memory, fits := range map[uint64]bool{64 << 20: false, 1 << 30: true} {
		cmd := exec.Command("sh", "-c", "sleep 0.2; head -c 300000000 /dev/zero | tail -c 200000000 >/dev/null") // tail holds it
		g, err := Start(cmd, memory)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-g.Done; (err == nil) != fits {
			t.Errorf("within %d bytes: %v", memory, err)
		}
		g.Kill()
	}
}

// Kill ends what a program started, too.
func TestKillEndsAll(t *testing.T) {
	alive := filepath.Join(t.TempDir(), "alive")
	g, err := Start(exec.Command("sh", "-c", "(while :; do touch "+alive+"; sleep 0.02; done) & wait"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(alive); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it never started")
		}
	}
	g.Kill()
	<-g.Done
	time.Sleep(100 * time.Millisecond)
	if err := os.Remove(alive); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	if _, err := os.Stat(alive); err == nil {
		t.Error("it goes on")
	}
}

func TestCopyFilesRefuses(t *testing.T) {
	from := t.TempDir()
	for name, want := range map[string]string{"../x": "is not below", "/etc/passwd": "is not below", "in/x": "inputs' and the ports'", "gone": "no such file"} {
		err := CopyFiles(t.TempDir(), []string{name}, func(int) string { return filepath.Join(from, "gone") }, "in")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "files[0]: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
