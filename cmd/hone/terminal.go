package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hone-ml/hone/runner"
)

// terminal shows a line for each running stage, redrawn in place, below the lines of those that have ended.
//
//	✓ base    reused
//	✓ rows    ran        0.4s
//	tune      ━━━━━━━━────────────  112/400 steps  loss 1.234  8,120 tokens/s  0m51s left
type terminal struct {
	file *os.File
	mu   sync.Mutex
	rows []*row   // running, in the order in which they began
	tell []string // finished lines to print above
	wide int      // of stage names
	drew []int    // widths of the lines that stand on the screen
	quit chan struct{}
	done chan struct{}
}

// row is a running stage.
type row struct {
	name     string
	began    time.Time
	done     int64
	total    int64
	unit     string
	first    int64     // done when counting began: a resumed stage starts above 0
	firstAt  time.Time // and when
	values   map[string]float64
	tokens   float64 // of the last metric, and the rate since the one before
	tokensAt float64
	rate     float64
}

const redrawEvery = 100 * time.Millisecond

func newTerminal(f *os.File) *terminal {
	t := &terminal{file: f, quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(t.done)
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.draw()
			case <-t.quit:
				t.draw()
				return
			}
		}
	}()
	return t
}

func (t *terminal) live() bool { return true }

func (t *terminal) close() {
	t.mu.Lock()
	t.rows = nil
	t.mu.Unlock()
	close(t.quit)
	<-t.done
}

func (t *terminal) update(u runner.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := u.Stage.Name
	t.wide = max(t.wide, min(len([]rune(name)), 24))
	if s := u.Ended; s != nil {
		t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.name == name })
		t.ended(s)
		return
	}
	if u.Event.Event == "placed" { // its artifacts are there; a line follows once they are durable
		t.rows = slices.DeleteFunc(t.rows, func(r *row) bool { return r.name == name })
		return
	}
	if u.Event.Event == "waits" { // it has no row yet
		t.tell = append(t.tell, fmt.Sprintf("%s %s: %s", marked(""), name, u.Event.Message))
		return
	}
	r := t.row(name)
	switch e := u.Event; e.Event {
	case "progress":
		if r.firstAt.IsZero() || e.Unit != r.unit {
			r.first, r.firstAt = e.Done, time.Now()
		}
		r.done, r.total, r.unit = e.Done, e.Total, e.Unit
	case "metric":
		r.measure(e.Values)
	case "log":
		t.tell = append(t.tell, fmt.Sprintf("%s %s: %s", marked(e.Level), name, printable(e.Message)))
	}
}

// marked is how a message begins.
func marked(level string) string {
	if level == "warn" || level == "error" {
		return "!"
	}
	return "·"
}

func (t *terminal) row(name string) *row {
	for _, r := range t.rows {
		if r.name == name {
			return r
		}
	}
	r := &row{name: name, began: time.Now()}
	t.rows = append(t.rows, r)
	return r
}

// ended adds the lines of a stage that has ended.
func (t *terminal) ended(s *runner.StageResult) {
	status, message := ended(s)
	line := fmt.Sprintf("%s %-*s  %-8s %7s", marks[s.Status], t.wide, s.Name, status, seconds(s))
	message, more, _ := strings.Cut(printable(message), "\n")
	if s.Status == runner.Ran || s.Status == runner.Resumed {
		message = metricsLine(s.Metrics, max(20, width(t.file)-len([]rune(line))-2))
	}
	t.tell = append(t.tell, strings.TrimRight(line+"  "+message, " "))
	if more != "" {
		t.tell = append(t.tell, strings.TrimSuffix(indented(more), "\n"))
	}
	for _, note := range s.Notes {
		t.tell = append(t.tell, "    ! "+note)
	}
}

// measure takes a metric in. Tokens per second are the step's own, where it says, else from its count of tokens.
func (r *row) measure(values map[string]float64) {
	r.values = values
	tokens, at := values["tokens"], values["time"]
	if rate, ok := values["tokens_per_second"]; ok {
		r.rate = rate
	} else if r.tokensAt > 0 && at > r.tokensAt && tokens > r.tokens {
		r.rate = (tokens - r.tokens) / (at - r.tokensAt)
	}
	r.tokens, r.tokensAt = tokens, at
}

// draw replaces the lines of running stages.
func (t *terminal) draw() {
	t.mu.Lock()
	defer t.mu.Unlock()
	columns := width(t.file)
	var b strings.Builder
	up := 0
	for _, width := range t.drew { // a terminal that was made narrower has wrapped what stood there
		up += 1 + max(0, width-1)/columns
	}
	if up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteString("\r\x1b[J")
	for _, line := range t.tell {
		b.WriteString(line + "\n")
	}
	if len(t.tell) == 0 && len(t.rows) == 0 && up == 0 {
		return
	}
	t.tell, t.drew = nil, nil
	for _, r := range t.rows {
		line := r.line(t.wide, columns-1)
		t.drew = append(t.drew, len([]rune(line)))
		b.WriteString(line + "\n")
	}
	fmt.Fprint(t.file, b.String())
}

// line is the row in at most columns columns: what does not fit is left out from the right, the bar takes the rest.
func (r *row) line(wide, columns int) string {
	name := []rune(r.name)
	if len(name) > wide {
		name = append(name[:wide-1], '…')
	}
	head := fmt.Sprintf("  %-*s  ", wide, string(name))
	var parts []string
	if r.total > 0 {
		parts = append(parts, fmt.Sprintf("%s/%s %s", grouped(r.done), grouped(r.total), r.unit))
	} else if r.done > 0 {
		parts = append(parts, fmt.Sprintf("%s %s", grouped(r.done), r.unit))
	}
	for _, name := range []string{"reward", "loss", "rewards/accuracies"} { // of a policy, of all, of preferences
		if v, ok := r.values[name]; ok {
			parts = append(parts, fmt.Sprintf("%s %.4f", strings.TrimPrefix(name, "rewards/"), v))
		}
	}
	if r.rate > 0 {
		parts = append(parts, grouped(int64(r.rate))+" tokens/s")
	}
	if left, ok := r.left(); ok {
		parts = append(parts, duration(left)+" left")
	} else {
		parts = append(parts, duration(time.Since(r.began)))
	}
	const narrowest, widest = 8, 30
	bar := 0
	if r.total > 0 {
		bar = narrowest
	}
	tail := strings.Join(parts, "  ")
	for len(parts) > 1 && len([]rune(head))+bar+2+len([]rune(tail)) > columns {
		parts = slices.Delete(parts, len(parts)-2, len(parts)-1)
		tail = strings.Join(parts, "  ")
	}
	if bar > 0 {
		room := min(widest, columns-len([]rune(head))-2-len([]rune(tail)))
		if room >= narrowest {
			full := int(min(r.done, r.total) * int64(room) / r.total)
			head += strings.Repeat("━", full) + strings.Repeat("─", room-full) + "  "
		}
	}
	line := []rune(head + tail)
	return string(line[:min(len(line), columns)])
}

// left is how long the stage still takes at the pace so far, once that says something.
func (r *row) left() (time.Duration, bool) {
	gone := time.Since(r.firstAt)
	if r.total == 0 || r.done <= r.first || gone < time.Second {
		return 0, false
	}
	per := gone.Seconds() / float64(r.done-r.first)
	return time.Duration(per * float64(max(0, r.total-r.done)) * float64(time.Second)), true
}

// grouped writes 12345 as 12,345.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func sortedNames(values map[string]float64) []string { return slices.Sorted(maps.Keys(values)) }
