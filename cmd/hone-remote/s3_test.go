package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// programs is the folder of hone and hone-remote as they are built.
var programs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hone-remote-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		programs = dir
		for name, from := range map[string]string{"hone": "../../cmd/hone", "hone-remote": "."} {
			build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), ".")
			build.Dir, build.Env = from, append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n%s", name, err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

const bucketName, accessKey, secretKey = "team", "hone-test", "hone-test-secret"

// servers speak S3: one in this process, which checks no signatures, and versitygw, over a folder, where it is installed.
func servers(t *testing.T, try func(t *testing.T, endpoint string)) {
	t.Run("gofakes3", func(t *testing.T) {
		backend := s3mem.New()
		if err := backend.CreateBucket(bucketName); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(gofakes3.New(backend).Server())
		defer server.Close()
		try(t, server.URL)
	})
	t.Run("versitygw", func(t *testing.T) { try(t, versitygw(t)) })
}

// versitygw starts a server over a folder and returns its endpoint.
func versitygw(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath(os.Getenv("HONE_VERSITYGW"))
	if err != nil {
		t.Skip("HONE_VERSITYGW names no versitygw")
	}
	root, attributes := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(root, bucketName), 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	var said bytes.Buffer
	cmd := exec.Command(program, "--access", accessKey, "--secret", secretKey, "--port", at, "--quiet", "posix", "--sidecar", attributes, root)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 100 {
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			return "http://" + at
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("versitygw does not answer: %s", said.String())
	return ""
}

// clone is a pipeline's folder with a store of its own.
type clone struct {
	*testing.T
	dir string
	env []string
}

// made makes three files, two of them of several parts; what it says on standard error is nobody else's.
const pipeline = `package p

import "github.com/hone-ml/hone/schemas"

schemas.#Pipeline

name: "try"
stages: {
	big: {kind: "exec", command: ["sh", "-c", "yes 1 | head -c 20000000 > out/files/one; yes 2 | head -c 17000000 > out/files/two; echo secret >&2; : > out/files/empty"], out: files: kind: "files"}
	run: {kind: "exec", command: ["sh", "-c", "echo '#!/bin/sh' > out/files/x; chmod +x out/files/x"], out: files: kind: "files"}
	end: {kind: "exec", inputs: big: stages.big.out.files, command: ["sh", "-c", "wc -c < in/big/one > out/files/count"], out: files: kind: "files"}
}
`

func newClone(t *testing.T) *clone {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.cue"), []byte(pipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	return &clone{t, dir, append(os.Environ(), "HONE_STORE="+filepath.Join(dir, "store"), "HONE_REMOTE=", "HOME="+dir,
		"AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey, "AWS_EC2_METADATA_DISABLED=true")}
}

func (c *clone) command(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.Command(filepath.Join(programs, "hone"), args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, &stdout, &stderr
}

// hone wants an exit code and returns both outputs.
func (c *clone) hone(code int, args ...string) (stdout, stderr string) {
	c.Helper()
	cmd, out, said := c.command(args...)
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		c.Fatalf("hone %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, said)
	}
	for _, text := range []string{out.String(), said.String()} {
		if strings.Contains(text, secretKey) {
			c.Errorf("hone %s tells the secret key", strings.Join(args, " "))
		}
	}
	return out.String(), said.String()
}

// hashes are those of all artifacts, each byte of which is checked.
func (c *clone) hashes() string {
	c.Helper()
	c.hone(0, "fsck")
	out, _ := c.hone(0, "plan", "--json")
	var plan struct {
		Stages []struct {
			Name, Action, From string
			Outputs            map[string]*string
		}
	}
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		c.Fatal(err)
	}
	all := ""
	for _, s := range plan.Stages {
		if s.Action != "reuse" || s.From != "" {
			c.Fatalf("%s: %s %s", s.Name, s.Action, s.From)
		}
		all += s.Name + " " + *s.Outputs["files"] + "\n"
	}
	return all
}

func remoteURL(endpoint, prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=%s", bucketName, prefix, endpoint)
}

func want(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("no %q in\n%s", part, text)
	}
}

func TestShare(t *testing.T) {
	servers(t, func(t *testing.T, endpoint string) {
		at := remoteURL(endpoint, "a/b")
		one, two := newClone(t), newClone(t)
		one.hone(0, "run")
		out, _ := one.hone(0, "push", at)
		want(t, out, "try: 3 pushed; ")
		out, _ = one.hone(0, "push", at)
		want(t, out, "try: 3 there; 0 files, 0 B")

		// A plan says what a run then does; a run fetches what it reads.
		out, _ = two.hone(0, "plan", "--remote", at)
		want(t, out, "try: 3 reuse")
		out, _ = two.hone(0, "plan", "--remote", remoteURL(endpoint, "a"))
		want(t, out, "try: 3 run")
		if err := os.WriteFile(filepath.Join(two.dir, "p.cue"), []byte(strings.Replace(pipeline, "wc -c", "wc -l", 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ = two.hone(0, "run", "--remote", at)
		want(t, out, "try: 2 reused, 1 ran")
		two.hone(0, "path", "big")
		two.hone(1, "path", "run")
		two.hone(0, "push", at) // what it made; the other clone gets it
		if err := os.WriteFile(filepath.Join(two.dir, "p.cue"), []byte(pipeline), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ = two.hone(0, "pull", at)
		want(t, out, "try: 2 pulled, 1 there; ")
		if a, b := one.hashes(), two.hashes(); a != b {
			t.Errorf("pushed\n%spulled\n%s", a, b)
		}
		dir, _ := two.hone(0, "log", "big", "--dir")
		if said, err := os.ReadFile(filepath.Join(strings.TrimSpace(dir), "stderr.txt")); err == nil {
			t.Errorf("standard error went along: %s", said)
		}
	})
}

// Killed at any moment, a push or a pull is gone on with, and what was seen meanwhile was whole.
func TestKilled(t *testing.T) {
	seed := rand.Uint64()
	if n, err := strconv.ParseUint(os.Getenv("HONE_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("HONE_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	servers(t, func(t *testing.T, endpoint string) {
		at := remoteURL(endpoint, "killed")
		one := newClone(t)
		one.hone(0, "run")
		began := time.Now()
		one.hone(0, "push", remoteURL(endpoint, "whole"))
		took := time.Since(began)
		killed := func(c *clone, args ...string) {
			t.Helper()
			cmd, _, _ := c.command(args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(random.Int64N(int64(took))))
			pid := cmd.Process.Pid
			if random.IntN(2) == 0 {
				pid = -pid // hone-remote with it
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
		two := newClone(t)
		for range 5 {
			killed(one, "push", at)
			two.hone(0, "plan", "--remote", at)
		}
		one.hone(0, "push", at)
		for range 5 {
			killed(two, "pull", at)
			two.hone(0, "fsck")
		}
		two.hone(0, "pull", at)
		if a, b := one.hashes(), two.hashes(); a != b {
			t.Errorf("pushed\n%spulled\n%s", a, b)
		}
		left, _ := filepath.Glob(filepath.Join(two.dir, "store", "tmp", "part-*"))
		if len(left) > 0 {
			t.Errorf("left half: %v", left)
		}
	})
}

// slowly is a way to an endpoint that lets a few megabytes a second through, and tells when the first of them has passed.
func slowly(t *testing.T, endpoint string) (string, <-chan struct{}) {
	t.Helper()
	gate, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gate.Close() })
	middle := make(chan struct{})
	var passed atomic.Int64
	var once sync.Once
	go func() {
		for {
			from, err := gate.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://"))
			if err != nil {
				from.Close()
				continue
			}
			go func() { io.Copy(from, to); from.Close() }()
			go func() {
				defer to.Close()
				for b := make([]byte, 32<<10); ; time.Sleep(5 * time.Millisecond) {
					n, err := from.Read(b)
					if _, bad := to.Write(b[:n]); err != nil || bad != nil {
						return
					}
					if passed.Add(int64(n)) > 1<<20 {
						once.Do(func() { close(middle) })
					}
				}
			}()
		}
	}()
	return "http://" + gate.Addr().String(), middle
}

// Ctrl-C ends a push with 130; nothing of it looks whole.
func TestInterrupted(t *testing.T) {
	servers(t, func(t *testing.T, endpoint string) {
		one, two := newClone(t), newClone(t)
		one.hone(0, "run")
		at := remoteURL(endpoint, "interrupted")
		slow, middle := slowly(t, endpoint)
		cmd, _, stderr := one.command("push", remoteURL(slow, "interrupted"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-middle
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
		want(t, stderr.String(), "interrupted")
		two.hone(0, "plan", "--remote", at)
		one.hone(0, "push", at)
		two.hone(0, "pull", at)
	})
}

func TestRefused(t *testing.T) {
	servers(t, func(t *testing.T, endpoint string) {
		c := newClone(t)
		_, said := c.hone(2, "plan", "--remote", "s3://none/x?endpoint="+endpoint)
		want(t, said, "s3://none/x: no such bucket: none")
		_, said = c.hone(2, "plan", "--remote", remoteURL(endpoint, "x")+"&color=red")
		want(t, said, "color")
		if strings.Contains(t.Name(), "versitygw") {
			c.env = append(c.env, "AWS_SECRET_ACCESS_KEY=wrong")
			_, said = c.hone(6, "plan", "--remote", remoteURL(endpoint, "x"))
			want(t, said, "s3://team/x: ")
		}
	})
	c := newClone(t)
	began := time.Now()
	_, said := c.hone(6, "plan", "--remote", remoteURL("http://127.0.0.1:1", "x"))
	want(t, said, "connection refused")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	_, said = c.hone(2, "plan", "--remote", remoteURL("nonsense", "x"))
	want(t, said, "an endpoint is http://HOST:PORT or https://HOST:PORT")
}
