//go:build !linux

package data

import (
	"os/exec"
	"syscall"
)

// inOwnGroup makes cmd the leader of a process group of its own. Other systems cannot tie its life to this process's.
func inOwnGroup(cmd *exec.Cmd) (unlock func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func() {}
}
