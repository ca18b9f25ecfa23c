package program

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// inOwnGroup makes cmd the leader of a process group of its own, which dies with this process: a program must not go
// on after a kill of the runner's group, which it is no member of. The kernel sends that signal when the thread that
// started it ends, so the calling goroutine holds its thread until unlock.
func inOwnGroup(cmd *exec.Cmd) (unlock func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}

// bound limits the memory that each process of the program may write to, in bytes. Reserved address space does not count:
// runtimes with a garbage collector reserve far more than they use.
func bound(pid int, memory uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}, nil)
}

// adoptOrphans makes what a program starts this process's child when its own parent ends, however it detached itself.
func adoptOrphans() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // an old kernel: then the group alone is ended
}

// endOrphans ends what a program left that made itself a session or group of its own. This process has no other children.
func endOrphans() {
	for {
		ended, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.ECHILD {
			return
		}
		if ended > 0 || err != nil {
			continue
		}
		for _, pid := range childrenOf(os.Getpid()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(pid, nil, 0, nil) // its own children are ours then
		}
	}
}

// childrenOf reads the parents of all processes: the fourth field of their stat, the first behind the name's brackets but one.
func childrenOf(parent int) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var children []int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		var state string
		var of int
		if _, err := fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &of); err != nil || of != parent {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			children = append(children, pid)
		}
	}
	return children
}
