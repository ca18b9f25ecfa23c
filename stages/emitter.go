package stages

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/job"
)

const (
	heartbeatAfter = 4 * time.Second        // of silence; the protocol promises five at most
	progressEvery  = 100 * time.Millisecond // a line; the first and the last of a unit always go out
	messageLimit   = 64 << 10               // bytes of a message
)

// emitter writes events as JSON lines, a heartbeat where nothing else is said. It is safe for concurrent use.
type emitter struct {
	mu       sync.Mutex
	w        io.Writer
	last     time.Time // of the newest line
	progress time.Time // of the newest progress line
	unit     string    // that it counts
	quit     chan struct{}
	ended    sync.WaitGroup
}

func newEmitter(w io.Writer) *emitter {
	e := &emitter{w: w, last: time.Now(), quit: make(chan struct{})}
	e.ended.Go(func() {
		tick := time.NewTicker(time.Second / 2)
		defer tick.Stop()
		for {
			select {
			case <-e.quit:
				return
			case <-tick.C:
				if e.silence() > heartbeatAfter {
					e.send(job.Event{Event: "heartbeat"})
				}
			}
		}
	})
	return e
}

func (e *emitter) stop() {
	close(e.quit)
	e.ended.Wait()
}

func (e *emitter) silence() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.last)
}

// send writes one line. Where the runner has gone nobody reads it; the end of standard input says so elsewhere.
func (e *emitter) send(event job.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if event.Event == "progress" {
		if time.Since(e.progress) < progressEvery && event.Done != event.Total && event.Unit == e.unit {
			return
		}
		e.progress, e.unit = time.Now(), event.Unit
	}
	event.Message = shorten(event.Message)
	line, err := json.Marshal(event)
	if err != nil {
		panic(fmt.Sprintf("stages: event %s: %v", event.Event, err))
	}
	_, _ = e.w.Write(append(line, '\n')) // where nobody reads, standard input ends too and stops the worker
	e.last = time.Now()
}

func shorten(s string) string {
	if len(s) > messageLimit {
		s = s[:messageLimit] + " …"
	}
	return strings.ToValidUTF8(s, "�")
}

// finite leaves out what JSON cannot say.
func finite(values map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(values))
	for name, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			out[name] = v
		}
	}
	return out
}

// takeStdout returns standard output for events and points file descriptor 1 at standard error, so that a print of
// a library, C or Go, cannot break a line of the protocol.
func takeStdout() (*os.File, error) {
	fd, err := unix.Dup(1)
	if err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := redirect(2, 1); err != nil {
		return nil, fmt.Errorf("standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "events"), nil
}
