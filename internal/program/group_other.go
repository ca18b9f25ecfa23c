//go:build !linux

package program

import (
	"os/exec"
	"syscall"
)

// inOwnGroup makes cmd the leader of a process group of its own. Other systems cannot tie its life to this process's.
func inOwnGroup(cmd *exec.Cmd) (unlock func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return func() {}
}

// bound does nothing: other systems cannot limit another process.
func bound(int, uint64) error { return nil }

// adoptOrphans and endOrphans are for systems that hand orphans to an ancestor.
func adoptOrphans() {}
func endOrphans()   {}
