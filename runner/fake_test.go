package runner_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/job"
)

// The test binary is its own worker: `stage JOBDIR` does the orders in the job's command, one by one.
//
//	write PORT/FILE TEXT      read FIELD PORT/FILE (the input's files, one after another)
//	count FILE                a line more in a file outside the store: how often the stage has run
//	touch FILE TEXT           change a file outside the store
//	steps N MS PORT/FILE      N steps of MS milliseconds, a checkpoint after each; then their trace
//	link PORT/FILE TARGET     fifo PORT/FILE     exec FILE (make it executable)
//	sleep MS  say TEXT  error TEXT  garbage  long  crash  killed  silent  quit CODE  random PORT/FILE
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "stage" && os.Args[2] == job.Shared:
		os.Exit(sharedWorker())
	case len(os.Args) == 3 && os.Args[1] == "stage":
		syscall.CloseOnExec(job.SharedConn)
		os.Exit(fakeWorker(os.Args[2]))
	case len(os.Args) == 3 && os.Args[1] == "run":
		os.Exit(runForKilling(os.Args[2]))
	}
	os.Exit(m.Run())
}

func send(e job.Event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(b, '\n'))
}

// sharedWorker does one job after another.
func sharedWorker() int {
	syscall.CloseOnExec(job.SharedConn)
	jobs, err := job.Conn(os.NewFile(job.SharedConn, "jobs"))
	check(err)
	for {
		dir, lock, err := job.Take(jobs)
		if errors.Is(err, io.EOF) {
			return 0
		}
		check(err)
		j, err := job.Read(dir)
		check(err)
		stderr, err := os.OpenFile(filepath.Join(j.Log, "stderr.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		check(err)
		check(unix.Dup2(int(stderr.Fd()), 2))
		check(stderr.Close())
		if code := fakeWorker(dir); code != 0 && code != 1 {
			return code
		}
		check(lock.Close())
		send(job.Event{Event: job.Idle})
	}
}

func fakeWorker(dir string) int {
	signal.Ignore(syscall.SIGPIPE)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop <- syscall.SIGTERM
	}()
	j, err := job.Read(dir)
	if err != nil {
		panic(err)
	}
	var config struct {
		Command  []string
		MaxSteps int
	}
	if err := json.Unmarshal(j.Config, &config); err != nil {
		panic(err)
	}
	send(job.Event{Event: "start", Numerics: &job.Numerics{Device: "cpu", Threads: j.Threads, ISA: os.Getenv("FAKE_ISA")}})
	out := func(place string) string {
		port, file, _ := strings.Cut(place, "/")
		path := filepath.Join(j.Out[port].Path, file)
		os.MkdirAll(filepath.Dir(path), 0o755)
		return path
	}
	if j.Kind == "model.load" {
		config.Command = []string{"write model/config.json {}"}
	}
	if j.Kind == "train.sft" {
		config.Command = []string{fmt.Sprintf("steps %d 1 out/t", config.MaxSteps)}
	}
	for _, order := range config.Command {
		verb, rest, _ := strings.Cut(order, " ")
		arg, text, _ := strings.Cut(rest, " ")
		switch verb {
		case "write":
			check(os.WriteFile(out(arg), []byte(text+"\n"), 0o644))
		case "exec":
			check(os.Chmod(out(arg), 0o755))
		case "read":
			var all bytes.Buffer
			check(filepath.WalkDir(j.Inputs[arg].Path, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() {
					b, err := os.ReadFile(path)
					all.Write(b)
					return err
				}
				return err
			}))
			check(os.WriteFile(out(text), all.Bytes(), 0o644))
		case "source":
			b, err := os.ReadFile(j.Files[arg])
			check(err)
			check(os.WriteFile(out(text), b, 0o644))
		case "count":
			f, err := os.OpenFile(arg, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			check(err)
			fmt.Fprintln(f, j.Stage)
			f.Close()
		case "touch":
			check(os.WriteFile(arg, []byte(text), 0o644))
		case "random":
			check(os.WriteFile(out(arg), []byte(strconv.FormatInt(time.Now().UnixNano(), 36)), 0o644))
		case "steps":
			var n, ms int
			var place string
			fmt.Sscan(rest, &n, &ms, &place)
			if !steps(j, stop, n, ms, out(place)) {
				return 130
			}
		case "link":
			check(os.Symlink(text, out(arg)))
		case "hardlink":
			check(os.Link(text, out(arg)))
		case "fifo":
			check(syscall.Mkfifo(out(arg), 0o644))
		case "sleep":
			ms, _ := strconv.Atoi(arg)
			select {
			case <-stop:
				return 130
			case <-time.After(time.Duration(ms) * time.Millisecond):
			}
		case "say":
			fmt.Fprintln(os.Stderr, rest)
		case "error":
			send(job.Event{Event: "error", Path: "data.jsonl:3", Message: rest, Code: 1})
			return 1
		case "garbage":
			fmt.Println("Loading checkpoint shards: 100%")
			time.Sleep(time.Minute)
		case "long":
			fmt.Println(strings.Repeat("x", 2<<20))
			time.Sleep(time.Minute)
		case "crash":
			syscall.Kill(os.Getpid(), syscall.SIGHUP)
			time.Sleep(time.Minute)
		case "panic":
			panic("order panic")
		case "killed":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Minute)
		case "silent":
			time.Sleep(time.Minute)
		case "quit":
			code, _ := strconv.Atoi(arg)
			return code
		default:
			panic("no order " + verb)
		}
	}
	send(job.Event{Event: "done", Values: map[string]float64{"orders": float64(len(config.Command))}})
	return 0
}

// steps is training in small: state that grows step by step, saved after each, and a metric a step.
func steps(j *job.Job, stop chan os.Signal, n, ms int, to string) bool {
	state := filepath.Join(j.Checkpoints, "trace")
	trace, _ := os.ReadFile(state)
	if len(trace) > 0 {
		send(job.Event{Event: "resumed"})
	}
	metrics, err := os.OpenFile(filepath.Join(j.Log, "metrics.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err)
	defer metrics.Close()
	for i := bytes.Count(trace, []byte("\n")); i < n; i++ {
		select {
		case <-stop:
			return false
		case <-time.After(time.Duration(ms) * time.Millisecond):
		}
		trace = fmt.Appendf(trace, "step %d\n", i)
		check(os.WriteFile(state+".new", trace, 0o644))
		check(os.Rename(state+".new", state))
		w := bufio.NewWriter(metrics)
		fmt.Fprintf(w, `{"step":%d}`+"\n", i)
		w.Flush()
		send(job.Event{Event: "progress", Done: int64(i + 1), Total: int64(n), Unit: "steps"})
		send(job.Event{Event: "checkpoint", Step: int64(i), Unit: "steps"})
	}
	check(os.WriteFile(to, trace, 0o644))
	return true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
