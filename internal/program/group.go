package program

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// grace is how long a cancelled program has between SIGTERM and SIGKILL.
const grace = 5 * time.Second

// Group is a program that has been started, in a process group of its own.
type Group struct {
	Done <-chan error // what waiting for the program gave, once
	id   int
}

// Start starts cmd in a process group of its own, each of whose processes may write to so many bytes of memory; 0 is no limit.
func Start(cmd *exec.Cmd, memory uint64) (*Group, error) {
	done := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		unlock := inOwnGroup(cmd)
		defer unlock()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		if memory > 0 {
			if err := bound(cmd.Process.Pid, memory); err != nil {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				started <- err
				return
			}
		}
		started <- nil
		done <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return &Group{done, cmd.Process.Pid}, nil
}

// Kill ends every process of the group.
func (g *Group) Kill() { _ = syscall.Kill(-g.id, syscall.SIGKILL) }

// Run runs cmd and ends its whole group and what detached itself from it: on cancellation, and when cmd has ended, since a
// process that it left behind could go on writing to what is an artifact by then. This process has no other children.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	adoptOrphans()
	g, err := Start(cmd, 0)
	if err != nil {
		return err
	}
	defer endOrphans()
	defer g.Kill()
	select {
	case err := <-g.Done:
		return err
	case <-ctx.Done():
	}
	_ = syscall.Kill(-g.id, syscall.SIGTERM)
	select {
	case err := <-g.Done:
		return err
	case <-time.After(grace):
		g.Kill()
		return <-g.Done
	}
}
