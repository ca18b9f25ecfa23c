package data

import (
	"os/exec"
	"runtime"
	"syscall"
)

// inOwnGroup makes cmd the leader of a process group of its own, which dies with this process: a program must not go
// on after a kill of the runner's group, which it is no member of. The kernel sends that signal when the thread that
// started it ends, so the calling goroutine holds its thread until unlock.
func inOwnGroup(cmd *exec.Cmd) (unlock func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return runtime.UnlockOSThread
}
