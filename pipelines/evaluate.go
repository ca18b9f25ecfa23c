package pipelines

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"cuelang.org/go/cue/token"
)

// What a package of CUE may take to be evaluated. A few lines can ask for more than any machine has, and the library cannot be
// stopped: a process of its own evaluates, and is ended.
const (
	maxTime   = 10 * time.Second // of the processor, which others may be using: of the clock, maxWait
	maxWait   = 3 * maxTime
	maxMemory = 1 << 30 // bytes
)

// Compiled is what the pipelines that a pattern names came to.
type Compiled struct {
	Graphs   []*Graph
	Errors   Errors // of those that are invalid
	Invalid  []Invalid
	Warnings []string
}

// Invalid is a package that is no valid pipeline. Its errors may lie in other folders: in what it imports.
type Invalid struct {
	Dir     string // absolute
	Package string // empty of files that have none
	Errors  Errors
	Embeds  bool // #Pipeline, as far as its text says, and so it is meant as one
}

// One is the graph of a pattern that names one pipeline.
func (c *Compiled) One() (*Graph, error) {
	if len(c.Errors) > 0 {
		return nil, c.Errors
	}
	return c.Graphs[0], nil
}

// Evaluate is CompileAll within bounds of time and memory for each package: hone, the program's argv, evaluates. A package
// beyond them is one of the Errors. Several processes share a pattern that ends in "...".
func Evaluate(ctx context.Context, hone []string, pattern string, opts Options) (*Compiled, error) {
	shards := 1
	if strings.HasSuffix(pattern, "...") {
		shards = min(runtime.GOMAXPROCS(0), 4)
	}
	children := make([]*child, shards)
	var group sync.WaitGroup
	for i := range children {
		children[i] = &child{argv: hone, request: request{Pattern: pattern, Options: opts, Shard: i, Shards: shards}}
		group.Go(func() { children[i].evaluate(ctx) })
	}
	group.Wait()
	var all []outcome
	for i, c := range children {
		if c.err != nil {
			return nil, c.err
		}
		if i == 0 {
			all = make([]outcome, c.packages)
		}
		for at, o := range c.outcomes {
			if at < len(all) {
				all[at] = o
			}
		}
	}
	return gather(pattern, opts, all)
}

// child is a process that evaluates every shards-th package, and those that follow it where it is ended.
type child struct {
	argv     []string
	request  request
	packages int // of all shards
	outcomes map[int]outcome
	err      error
}

// request is what a child is asked for.
type request struct {
	Pattern       string
	Options       Options
	Shard, Shards int
	From          int // the packages before it are done
}

// answer is what a child says: first how many packages there are, or why none can be found, then of each that it begins and what
// came of it.
type answer struct {
	Packages int
	Failure  *failure
	Begins   *found // a package
	At       int
	Outcome  *outcome
}

// outcome is what a package came to. One that is no pipeline has none of it.
type outcome struct {
	Of       found
	Graph    *Graph
	Errors   Errors
	Warnings []string
	Tags     []string // those that it has
	Failure  *failure
}

// failure is an error that is not of a pipeline.
type failure struct {
	Msg   string
	Usage bool // a *UsageError
}

func failed(err error) *failure {
	var usage *UsageError
	return &failure{Msg: err.Error(), Usage: errors.As(err, &usage)}
}

func (f *failure) error() error {
	if f.Usage {
		return &UsageError{f.Msg}
	}
	return errors.New(f.Msg)
}

func (c *child) evaluate(ctx context.Context) {
	c.outcomes = map[int]outcome{}
	for {
		begun, died := c.process(ctx)
		switch {
		case ctx.Err() != nil:
			c.err = ctx.Err()
			return
		case died == nil || c.err != nil:
			return
		case begun == nil: // while it looked for packages
			c.err = Errors{{Pos: token.Position{Filename: c.request.Pattern}, Msg: died.Error()}}
			return
		}
		c.outcomes[begun.At] = outcome{Of: *begun.Begins, Errors: Errors{{Pos: token.Position{Filename: shownPath(begun.Begins.Dir)}, Msg: died.Error()}}}
		c.request.From = begun.At + 1
	}
}

// process asks one process. Where it dies, or is ended, begun is what it was at.
func (c *child) process(ctx context.Context) (begun *answer, died error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	cmd := exec.CommandContext(ctx, c.argv[0], append(c.argv[1:len(c.argv):len(c.argv)], Serving)...)
	var ask, said bytes.Buffer
	if c.err = gob.NewEncoder(&ask).Encode(c.request); c.err != nil {
		return nil, nil
	}
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe() // open as long as this process is there
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	answers := make(chan answer)
	broken := make(chan error, 1) // why there are no more of them
	go func() {
		defer close(answers)
		if _, err := stdin.Write(ask.Bytes()); err != nil {
			broken <- err
			return
		}
		for d := gob.NewDecoder(stdout); ; {
			var a answer
			if err := d.Decode(&a); err != nil {
				broken <- err
				return
			}
			answers <- a
		}
	}()
	stop := time.NewTimer(maxWait)
	for {
		select {
		case a, more := <-answers:
			stop.Reset(maxWait)
			switch {
			case !more:
				ended := cmd.Wait()
				if err := <-broken; errors.Is(err, io.EOF) && ended == nil {
					return nil, nil
				}
				return begun, reason(ended, said.String())
			case a.Failure != nil:
				c.err = a.Failure.error()
			case a.Begins != nil:
				begun = &a
			case a.Outcome != nil:
				c.outcomes[a.At], begun = *a.Outcome, nil
			default:
				c.packages = a.Packages
			}
		case <-stop.C:
			end()
			for range answers { // to the end
			}
			_ = cmd.Wait()
			return begun, errTooLong
		}
	}
}

var errTooLong = fmt.Errorf("its CUE takes more than %v to evaluate", maxTime)

// reason is why a child died.
func reason(ended error, said string) error {
	var exit *exec.ExitError
	first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	switch {
	case errors.As(ended, &exit) && exit.ExitCode() == tooLong:
		return errTooLong
	case errors.As(ended, &exit) && exit.ExitCode() == tooBig, strings.Contains(said, "out of memory"):
		return fmt.Errorf("its CUE takes more than %d GB of memory to evaluate", maxMemory>>30)
	case strings.Contains(said, "stack exceeds"), strings.Contains(said, "stack overflow"):
		return errors.New("its CUE nests too deep to evaluate: something contains itself?")
	case first != "":
		return fmt.Errorf("its CUE cannot be evaluated: %s", first)
	case ended != nil:
		return fmt.Errorf("its CUE cannot be evaluated: %w", ended)
	}
	return errors.New("its CUE cannot be evaluated: the process that does ended early")
}

// gather puts the outcomes of a pattern's packages together.
func gather(pattern string, opts Options, all []outcome) (*Compiled, error) {
	c := &Compiled{}
	taken := map[string]bool{}
	for _, o := range all {
		if o.Failure != nil {
			return nil, o.Failure.error()
		}
		if c.Errors = append(c.Errors, o.Errors...); len(o.Errors) > 0 && o.Of.Dir != "" { // else the package is not known
			c.Invalid = append(c.Invalid, Invalid{o.Of.Dir, o.Of.Package, o.Errors, o.Of.embeds()})
		}
		c.Warnings = append(c.Warnings, o.Warnings...)
		if o.Graph != nil {
			c.Graphs = append(c.Graphs, o.Graph)
		}
		for _, tag := range o.Tags {
			taken[tag] = true
		}
	}
	root, recursive := strings.CutSuffix(pattern, "...")
	if !recursive {
		return c, nil
	}
	if root, err := absolute(root); err != nil {
		return nil, err
	} else if len(c.Graphs) == 0 && len(c.Errors) == 0 {
		return nil, &NoPipelineError{UsageError{shownPath(root) + ": no pipeline here or below"}}
	} else if len(c.Errors) == 0 && len(opts.Except) == 0 {
		for _, tag := range opts.Tags {
			if !taken[tag] {
				return nil, usagef("%s: no pipeline has the tag %s", shownPath(root), tag)
			}
		}
	}
	return c, nil
}

// CompileAll compiles every pipeline at a pattern: ./... is each below the folder, anything else as Load. Packages that do not embed
// #Pipeline are passed over. What is wrong with one is in the Errors, beside the graphs of those that are right.
func CompileAll(pattern string, opts Options) (*Compiled, error) {
	list, one, err := find(pattern, opts)
	if own := (Errors)(nil); errors.As(err, &own) {
		return &Compiled{Errors: own}, nil
	} else if err != nil {
		return nil, err
	}
	all := make([]outcome, len(list))
	for i, f := range list {
		all[i] = f.compile(opts, one)
	}
	return gather(pattern, opts, all)
}

// find is the packages that a pattern matches; one says that it names a single one, which must be a pipeline.
func find(pattern string, opts Options) (list []found, one bool, err error) {
	root, recursive := strings.CutSuffix(pattern, "...")
	if recursive {
		if root, err = absolute(root); err == nil {
			list, err = findBelow(root)
			list = slices.DeleteFunc(list, func(f found) bool {
				return slices.Contains(opts.Except, f.Dir) || len(opts.Below) > 0 && !slices.ContainsFunc(opts.Below, f.below)
			})
		}
		return list, false, err
	}
	f, err := findOne(pattern)
	return []found{f}, true, err
}

// compile evaluates a package and compiles it where it is a pipeline.
func (f found) compile(opts Options, one bool) (o outcome) {
	o.Of = f
	var p *Pipeline
	var err error
	if f.Package == "" {
		err = unpackaged(f.Dir)
	} else if one {
		p, err = f.load(opts)
	} else {
		p, o.Tags, err = loadTagged(f, opts)
	}
	if err == nil && p != nil && p.isPipeline() {
		o.Warnings = p.Warnings
		o.Graph, err = Compile(p)
	}
	if err != nil && !errors.As(err, &o.Errors) {
		o.Failure = failed(err)
	}
	return o
}

// Serving is the argument with which the program of Evaluate is to call Serve.
const Serving = "compile"

// Exit codes of a child that takes more than it may.
const (
	tooBig  = 9  // memory
	tooLong = 10 // time
)

// Serve is the other side of Evaluate: it answers the request on in, and ends with it, or when in does.
func Serve(in io.Reader, out io.Writer) error {
	begin := restrain()
	requests := gob.NewDecoder(in)
	var r request
	if err := requests.Decode(&r); err != nil {
		return err
	}
	go func() {
		var nothing request
		_ = requests.Decode(&nothing) // until who asked has gone
		os.Exit(1)
	}()
	answers := gob.NewEncoder(out)
	list, one, err := find(r.Pattern, r.Options)
	if own := (Errors)(nil); errors.As(err, &own) { // they are a pipeline's, though which one cannot be told
		if err := answers.Encode(answer{Packages: 1}); err != nil {
			return err
		}
		return answers.Encode(answer{Outcome: &outcome{Errors: own}})
	}
	if err != nil {
		return answers.Encode(answer{Failure: failed(err)})
	}
	if err := answers.Encode(answer{Packages: len(list)}); err != nil {
		return err
	}
	for at, f := range list {
		if at%r.Shards != r.Shard || at < r.From {
			continue
		}
		if err := answers.Encode(answer{At: at, Begins: &f}); err != nil {
			return err
		}
		begin()
		o := f.compile(r.Options, one)
		if err := answers.Encode(answer{At: at, Outcome: &o}); err != nil {
			return err
		}
	}
	return nil
}
