package runner_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
)

// killed is a pipeline with every way of being at work: steps with checkpoints, a chain, a fan.
func killed() []*pipelines.Stage {
	return []*pipelines.Stage{
		stage("train", []string{"steps 12 10 out/t"}, nil),
		stage("rows", []string{"sleep 20", "write out/a 1", "write out/b/c 2", "exec out/a"}, nil),
		stage("both", []string{"read inputs.x out/x", "read inputs.y out/y", "sleep 20"}, map[string]string{"x": "train", "y": "rows"}),
		stage("last", []string{"read inputs.x out/x"}, map[string]string{"x": "both"}),
	}
}

// runForKilling is a run in a process of its own.
func runForKilling(dir string) int {
	st, err := store.Open(filepath.Join(dir, "store"))
	check(err)
	r, err := runner.New(&pipelines.Graph{Name: "killed", Dir: dir, Package: "killed", Stages: killed()}, st, options())
	check(err)
	result, err := r.Run(context.Background())
	check(err)
	for _, s := range result.Stages {
		if s.Error != "" {
			fmt.Println(s.Name, s.Error)
		}
		fmt.Println(s.Name, s.Artifacts["out"].Hash)
	}
	return result.Code
}

// A run that is killed at any moment, with its workers or without them, is finished by the next one, with the same
// artifacts.
func TestKilledAtAnyMoment(t *testing.T) {
	whole := t.TempDir()
	out, err := exec.Command(os.Args[0], "run", whole).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := string(out)
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		dir := t.TempDir()
		group := round%2 == 0
		kills := 0
		for {
			cmd := exec.Command(os.Args[0], "run", dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			var err error
			alive := true
			if kills < 6 {
				select {
				case err = <-ended:
					alive = false
				case <-time.After(time.Duration(rand.IntN(250)) * time.Millisecond):
					pid := cmd.Process.Pid
					if group {
						pid = -pid
					}
					syscall.Kill(pid, syscall.SIGKILL)
					<-ended
					kills++
					continue
				}
			}
			if alive {
				err = <-ended
			}
			if err != nil || said.String() != want {
				t.Fatalf("round %d after %d kills: %v\n%s\nwant\n%s", round, kills, err, said.String(), want)
			}
			break
		}
		st, err := store.Open(filepath.Join(dir, "store"))
		check(err)
		found, err := st.Fsck()
		check(err)
		if len(found.Problems) != 0 {
			t.Fatalf("round %d: the store is damaged: %v", round, found.Problems)
		}
	}
}
