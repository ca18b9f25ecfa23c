package program

import (
	"os/exec"
	"runtime"
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
