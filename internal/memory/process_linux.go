package memory

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is what this process takes in bytes, and what it can have: Limit, or where that is less the limit of its address space
// (ulimit -v), of which taken is then told. 0 is not known.
func Process() (taken, limit int64) {
	taken, limit = status("VmRSS"), Limit()
	var space unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &space); err == nil && (limit == 0 || space.Cur < uint64(limit)) {
		return status("VmSize"), int64(space.Cur)
	}
	return taken, limit
}

// status reads a size of /proc/self/status; 0 where it is not told.
func status(name string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kilobytes int64
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			if _, err := fmt.Sscan(rest, &kilobytes); err == nil {
				return kilobytes << 10
			}
		}
	}
	return 0
}
