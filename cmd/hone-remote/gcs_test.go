package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Google Cloud Storage as fake-gcs-server speaks it.
func TestGCS(t *testing.T) {
	program, err := exec.LookPath(os.Getenv("HONE_FAKE_GCS"))
	if err != nil {
		t.Skip("HONE_FAKE_GCS names no fake-gcs-server")
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, bucketName), 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(at)
	cmd := exec.Command(program, "-scheme", "http", "-port", port, "-public-host", at, "-backend", "memory", "-data", root)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 100 {
		if conn, err := net.Dial("tcp", at); err == nil {
			conn.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	remote := "gs://" + bucketName + "/a/b?anonymous=true"
	one, two := newClone(t), newClone(t)
	one.env = append(one.env, "STORAGE_EMULATOR_HOST="+at)
	two.env = append(two.env, "STORAGE_EMULATOR_HOST="+at)
	one.hone(0, "run")
	out, _ := one.hone(0, "push", remote)
	want(t, out, "try: 3 pushed; ")
	out, _ = two.hone(0, "plan", "--remote", remote)
	want(t, out, "try: 3 reuse")
	out, _ = two.hone(0, "pull", remote)
	want(t, out, "try: 3 pulled; ")
	if a, b := one.hashes(), two.hashes(); a != b {
		t.Errorf("pushed\n%spulled\n%s", a, b)
	}
	_, said := two.hone(2, "plan", "--remote", "gs://none/a?anonymous=true")
	want(t, said, "gs://none/a: no such bucket: none")
}
