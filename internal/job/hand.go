package job

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process that does many small jobs is handed them over a socket: the job's folder, and the lock of its key, which it holds as long
// as it is at the job.

// Shared is the argument, in place of a job's folder, of a process that is handed its jobs.
const Shared = "-"

// Idle is the event after a job's last: the process has given up the key's lock and waits for the next.
const Idle = "idle"

// SharedConn is the descriptor of the socket in that process.
const SharedConn = 3

// Pair is a socket: one end for this process, one for a child.
func Pair() (ours *net.UnixConn, theirs *os.File, err error) {
	syscall.ForkLock.RLock() // a child that another goroutine starts between the two would hold both ends, and this one's would never end
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "jobs")
	if ours, err = Conn(os.NewFile(uintptr(fds[0]), "jobs")); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// Conn is the socket behind a file, which it closes.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a socket"), c.Close())
	}
	return u, nil
}

// Hand gives the job in a folder to the process at the other end.
func Hand(c *net.UnixConn, dir string, lock *os.File) error {
	n, _, err := c.WriteMsgUnix(append([]byte(dir), 0), unix.UnixRights(int(lock.Fd())), nil)
	if err == nil && n != len(dir)+1 {
		err = io.ErrShortWrite
	}
	return err
}

// Take waits for a job. io.EOF says that there are no more. The next is handed only once this one has ended.
func Take(c *net.UnixConn) (dir string, lock *os.File, err error) {
	b, rights := make([]byte, unix.PathMax+1), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := c.ReadMsgUnix(b, rights)
	if err != nil {
		return "", nil, err
	}
	if n == 0 {
		return "", nil, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 || b[n-1] != 0 {
		return "", nil, errors.Join(errors.New("not a job"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return "", nil, errors.Join(errors.New("a job without its lock"), err)
	}
	syscall.CloseOnExec(fds[0])
	return string(b[:n-1]), os.NewFile(uintptr(fds[0]), "lock"), nil
}
