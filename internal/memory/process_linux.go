package memory

import (
	"fmt"
	"os"
	"strings"
	"syscall"

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

// Watch begins to watch this process. It tells what it holds now in bytes besides files that are mapped, its program's among them; what it
// returns, the most that it has taken since, all counted. Both are 0 where the system does not allow it.
func Watch() (held int64, most func() int64) {
	const resetPeak = "5" // proc_pid_clear_refs(5)
	if err := os.WriteFile("/proc/self/clear_refs", []byte(resetPeak), 0); err != nil {
		return 0, func() int64 { return 0 }
	}
	return status("RssAnon"), func() int64 { return status("VmHWM") }
}

// Of is the memory that a process that has ended, or one that it waited for, had at its peak in bytes.
func Of(p *os.ProcessState) int64 {
	if usage, ok := p.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss) << 10
	}
	return 0
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
