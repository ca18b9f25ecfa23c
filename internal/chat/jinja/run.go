package jinja

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Limits bound a render. Zero fields take the defaults of DefaultLimits.
type Limits struct {
	Time   time.Duration // wall clock
	Output int           // bytes of the text, and of any one string built on the way
	Memory int           // bytes of all strings and lists built on the way
}

// DefaultLimits are far above what conversations need.
var DefaultLimits = Limits{Time: 10 * time.Second, Output: 64 << 20, Memory: 2 << 30}

// Span is a range of bytes of the output, Start included, End not.
type Span struct{ Start, End int }

// Options of a render.
type Options struct {
	Limits Limits
	Now    time.Time // what strftime_now formats
	Mark   bool      // give the spans of generation blocks
}

// Sentinels stand for the borders of generation blocks in text that is captured (by a macro, say) before it is
// printed. They are private-use characters that no tokenizer has.
const (
	sentinelStart = "\U0010FF00"
	sentinelEnd   = "\U0010FF01"
)

// Render renders the template over vars and gives the text and, with Mark, the spans of its generation blocks.
// A render that goes over the limits, or whose ctx ends, is an *Error with Limit set.
func (t *Template) Render(ctx context.Context, vars map[string]Value, o Options) (text string, spans []Span, err error) {
	r := &run{ctx: ctx, limits: o.Limits, now: o.Now, mark: o.Mark}
	if r.limits.Time == 0 {
		r.limits.Time = DefaultLimits.Time
	}
	if r.limits.Output == 0 {
		r.limits.Output = DefaultLimits.Output
	}
	if r.limits.Memory == 0 {
		r.limits.Memory = DefaultLimits.Memory
	}
	r.deadline = time.Now().Add(r.limits.Time)
	defer func() {
		if e := recover(); e != nil {
			failure := *asError(e)
			if failure.Line == 0 {
				failure.Line = r.line
			}
			text, spans, err = "", nil, &failure
		}
	}()
	r.out = &r.root
	r.top = &scope{vars: vars}
	r.execAll(t.body, &scope{parent: r.top})
	text, spans = r.root.String(), r.spans
	if r.captured > 0 {
		text, spans = r.unmark(text)
	}
	return text, spans, nil
}

// run is the state of one render.
type run struct {
	ctx      context.Context
	limits   Limits
	deadline time.Time
	now      time.Time
	line     int
	depth    int // of calls
	ticks    int
	memory   int

	top      *scope // the variables given
	root     strings.Builder
	out      *strings.Builder // root, or what captures
	mark     bool
	spans    []Span
	captured int // sentinels written
}

// maxCalls bounds how deep macros, recursive loops and nested data may go; Python's recursion limit is of this order.
const maxCalls = 400

// tick counts work: n units of about a nanosecond to a few.
func (r *run) tick(n int) {
	r.ticks += n
	if r.ticks < 1<<14 {
		return
	}
	r.ticks = 0
	if time.Now().After(r.deadline) {
		panic(&Error{Message: fmt.Sprintf("no end after %v", r.limits.Time), Limit: true})
	}
	if err := r.ctx.Err(); err != nil {
		panic(&Error{Message: err.Error(), Limit: true})
	}
}

// grow is called before n bytes are built.
func (r *run) grow(n int) {
	if n > r.limits.Output {
		r.tooLong()
	}
	r.memory += n
	if r.memory > r.limits.Memory {
		panic(&Error{Message: fmt.Sprintf("built more than %d MiB", r.limits.Memory>>20), Limit: true})
	}
	r.tick(1 + n/8)
}

func (r *run) tooLong() {
	panic(&Error{Message: fmt.Sprintf("output over %d MiB", r.limits.Output>>20), Limit: true})
}

func (r *run) print(s string) {
	if r.out.Len()+len(s) > r.limits.Output {
		r.tooLong()
	}
	r.grow(len(s))
	r.out.WriteString(s)
}

// capture runs f and gives what it prints.
func (r *run) capture(f func()) string {
	var b strings.Builder
	outer := r.out
	r.out = &b
	f()
	r.out = outer
	return b.String()
}

// enter counts a call; call its result at its end.
func (r *run) enter() func() {
	if r.depth++; r.depth > maxCalls {
		fail("maximum recursion depth exceeded")
	}
	return func() { r.depth-- }
}

// unmark takes the sentinels out of text and gives the spans between them.
func (r *run) unmark(text string) (string, []Span) {
	var b strings.Builder
	var spans []Span
	seen, open := 0, -1
	direct := r.spans // offsets in the text with sentinels
	shift := func(at int) int {
		return at - len(sentinelStart)*strings.Count(text[:at], sentinelStart) - len(sentinelEnd)*strings.Count(text[:at], sentinelEnd)
	}
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], sentinelStart):
			seen++
			open = b.Len()
			i += len(sentinelStart)
		case strings.HasPrefix(text[i:], sentinelEnd):
			seen++
			if open >= 0 {
				spans = append(spans, Span{open, b.Len()})
			}
			open = -1
			i += len(sentinelEnd)
		default:
			b.WriteByte(text[i])
			i++
		}
	}
	if seen != r.captured {
		fail("the template marks what the assistant writes inside a macro or set block, and prints it other than once")
	}
	for _, s := range direct {
		spans = append(spans, Span{shift(s.Start), shift(s.End)})
	}
	sortSpans(spans)
	return b.String(), spans
}

// scope is the names that a body sets. A body without a scope of its own (if) shares its parent's.
type scope struct {
	parent *scope
	names  []string
	values []Value
	vars   map[string]Value // of the outermost one
}

func (s *scope) get(name string) (Value, bool) {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.values[i], true
			}
		}
		if s.vars != nil {
			v, ok := s.vars[name]
			return v, ok
		}
	}
	return nil, false
}

func (s *scope) set(name string, v Value) {
	for i, n := range s.names {
		if n == name {
			s.values[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.values = append(s.values, v)
}

// flow says how control leaves a statement.
type flow int

const (
	flowNext flow = iota
	flowBreak
	flowContinue
)

func (r *run) execAll(body []stmt, s *scope) flow {
	for _, st := range body {
		r.tick(1)
		if f := st.exec(r, s); f != flowNext {
			return f
		}
	}
	return flowNext
}
