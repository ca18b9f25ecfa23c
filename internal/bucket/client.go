package bucket

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/job"
)

// Program is the name of the program that speaks with S3 and GCS.
const Program = "hone-remote"

// What a request may take before it gives up: small ones as a whole, streams between two of their pieces.
const (
	patience  = 30 * time.Second
	stallTime = 60 * time.Second
)

// Found finds the program: beside hone, else on PATH.
var Found = func() (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), Program)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(Program); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("no %s, which speaks with S3 and GCS: neither beside hone nor on PATH; ./justw build makes it", Program)
}

// client is a Bucket behind hone-remote.
type client struct {
	shown string
	http  *http.Client
	conn  net.Conn
	cmd   *exec.Cmd
}

func start(ctx context.Context, at string) (Bucket, error) {
	program, err := Found()
	if err != nil {
		return nil, lacks(err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, at) // outlives ctx: it has transfers to give up in good order
	cmd.Stdin, cmd.Stderr = theirs, os.Stderr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, lacks(fmt.Errorf("%s: %w", program, err))
	}
	taken := make(chan struct{}, 1)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		select {
		case taken <- struct{}{}:
			return ours, nil
		default: // there is one connection
			return nil, lacks(errors.New(Program + " has ended"))
		}
	}}
	c := &client{shown: Shown(at), http: &http.Client{Transport: transport}, conn: ours, cmd: cmd}
	_, err = c.call(ctx, http.MethodGet, "open", nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func socketPair() (ours net.Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, err
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	mine := os.NewFile(uintptr(fds[0]), "socket")
	defer mine.Close()
	theirs = os.NewFile(uintptr(fds[1]), "socket")
	if ours, err = net.FileConn(mine); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// lacks is an error of the environment (exit code 6).
func lacks(err error) error { return &job.Error{Message: err.Error(), Code: 6, Err: err} }

// Failure is how hone-remote says what went wrong.
type Failure struct {
	Error string `json:"error"`
	Usage bool   `json:"usage,omitempty"` // the URL is wrong
}

// do sends a request; one whose answer is no success is an error, fs.ErrNotExist for what is not there.
func (c *client) do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) { // its URL is that of the socket
			err = failed.Err
		}
		return nil, c.broken(r.Context(), err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, &fs.PathError{Op: "read", Path: c.shown + "/" + r.URL.Query().Get("name"), Err: fs.ErrNotExist}
	}
	var f Failure
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&f); err != nil {
		f.Error = resp.Status
	}
	if f.Usage {
		return nil, &URLError{c.shown, f.Error}
	}
	return nil, c.fail(errors.New(f.Error))
}

func (c *client) fail(err error) error {
	var failure *job.Error
	if errors.As(err, &failure) {
		return err
	}
	return lacks(fmt.Errorf("%s: %w", c.shown, err))
}

// broken is why a request broke off: its caller gave up, it stood still, or err.
func (c *client) broken(ctx context.Context, err error) error {
	var still stalled
	if errors.As(context.Cause(ctx), &still) {
		return c.fail(still)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.fail(err)
}

// stalled is a request that nothing has moved in for so long.
type stalled time.Duration

func (s stalled) Error() string { return fmt.Sprintf("no answer in %v", time.Duration(s)) }

func (c *client) request(ctx context.Context, method, verb string, query url.Values, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, method, "http://hone-remote/"+verb+"?"+query.Encode(), body)
}

// call is a request whose answer is small.
func (c *client) call(ctx context.Context, method, verb string, query url.Values) ([]byte, error) {
	ctx, stop := context.WithTimeoutCause(ctx, patience, stalled(patience))
	defer stop()
	r, err := c.request(ctx, method, verb, query, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

func (c *client) Size(ctx context.Context, name string) (int64, error) {
	b, err := c.call(ctx, http.MethodGet, "size", url.Values{"name": {name}})
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return 0, c.fail(fmt.Errorf("%s: no size", name))
	}
	return size, nil
}

func (c *client) Read(ctx context.Context, name string, offset int64) (io.ReadCloser, int64, error) {
	ctx, moves, stop := watched(ctx)
	r, err := c.request(ctx, http.MethodGet, "read", url.Values{"name": {name}, "offset": {strconv.FormatInt(offset, 10)}}, nil)
	if err != nil {
		stop()
		return nil, 0, err
	}
	resp, err := c.do(r)
	if err != nil {
		stop()
		return nil, 0, err
	}
	size, err := strconv.ParseInt(resp.Header.Get("Size"), 10, 64)
	if err != nil || size < 0 {
		resp.Body.Close()
		stop()
		return nil, 0, c.fail(fmt.Errorf("%s: no size", name))
	}
	return &stream{resp.Body, func(err error) error { return c.broken(ctx, err) }, moves, stop}, size, nil
}

func (c *client) Write(ctx context.Context, name string, size int64, r io.Reader) error {
	ctx, moves, stop := watched(ctx)
	defer stop()
	broken := &source{r: io.LimitReader(r, size+1), moves: moves}
	req, err := c.request(ctx, http.MethodPut, "write", url.Values{"name": {name}}, broken)
	if err != nil {
		return err
	}
	if req.ContentLength = size; size == 0 {
		req.Body = http.NoBody // else its length is not told
	}
	resp, err := c.do(req)
	if broken.err != nil {
		err = broken.err
	}
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *client) List(ctx context.Context, prefix string, each func(string, int64) error) error {
	ctx, moves, stop := watched(ctx)
	defer stop()
	r, err := c.request(ctx, http.MethodGet, "list", url.Values{"prefix": {prefix}}, nil)
	if err != nil {
		return err
	}
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	whole := false
	for lines.Scan() {
		moves()
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return c.fail(err)
		}
		if e.Name == "" { // the last
			whole = true
			break
		}
		if err := each(e.Name, e.Size); err != nil {
			return err
		}
	}
	if !whole {
		return c.fail(fmt.Errorf("listing %s: broken off", prefix))
	}
	return nil
}

// Entry is a line of a listing; one without a name says that it is whole.
type Entry struct {
	Name string `json:"name,omitempty"`
	Size int64  `json:"size,omitempty"`
}

// Close ends hone-remote, which gives up what is under way.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	err := c.conn.Close()
	_ = c.cmd.Wait() // what it could not do was said
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// watched is a context that ends where nothing moves for a while.
func watched(ctx context.Context) (_ context.Context, moves, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stallTime, func() { cancel(stalled(stallTime)) })
	return ctx, func() { timer.Reset(stallTime) }, func() { timer.Stop(); cancel(context.Canceled) }
}

// stream is the body of an object under watch.
type stream struct {
	io.ReadCloser
	broken      func(error) error
	moves, stop func()
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if n > 0 {
		s.moves()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.broken(err)
	}
	return n, err
}

func (s *stream) Close() error {
	err := s.ReadCloser.Close()
	s.stop()
	return err
}

// source keeps the error of what is written from.
type source struct {
	r     io.Reader
	moves func()
	err   error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.moves()
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
