package hub

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hone-ml/hone/internal/hub/hubtest"
	"github.com/hone-ml/hone/internal/safetensors"
)

const name = "hone/toy"

// client returns a client of h as the environment of a user makes it, with a cache of its own.
func client(t *testing.T, h *hubtest.Hub) *Client {
	t.Helper()
	for _, v := range []string{"HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HUGGING_FACE_HUB_TOKEN", "TRANSFORMERS_OFFLINE", "HF_TOKEN_PATH"} {
		t.Setenv(v, "")
	}
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_ENDPOINT", h.URL)
	return remake(t)
}

func remake(t *testing.T) *Client {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	c.Wait = time.Millisecond
	return c
}

// toy is a small model in two shards beside what must not be fetched.
func toy(t *testing.T) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	tensors := []safetensors.Tensor{
		{Name: "a", Dtype: safetensors.U8, Shape: []int64{300_000}, Data: bytes.Repeat([]byte("abc"), 100_000)},
		{Name: "b", Dtype: safetensors.U8, Shape: []int64{2}, Data: []byte("xy")},
	}
	if err := safetensors.WriteDir(dir, tensors, 300_000); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"config.json": []byte(`{"model_type": "llama"}`), "tokenizer.json": []byte(`{}`), "chat_template.jinja": []byte("{{ x }}"),
		"README.md": []byte("# toy"), "pytorch_model.bin": []byte("a pickle"), "consolidated.safetensors": []byte("the same again"),
		"original/params.json": []byte(`{}`), "modeling.py": []byte("import os"), "../escape.json": []byte(`{}`),
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, p)
			paths = append(paths, rel)
		}
		return err
	})
	sort.Strings(paths)
	return paths
}

// A model comes as its safetensors, configs, templates and card alone, in the layout of the hub's own cache; a second call
// fetches no file again.
func TestModel(t *testing.T) {
	h := hubtest.New(t)
	files := toy(t)
	commit := h.Add(name, hubtest.Repository{Files: files})
	c := client(t, h)
	var done, total int64
	c.Progress = func(d, n int64) { done, total = d, n }
	got, err := c.Resolve(t.Context(), name, "main")
	if err != nil || got != commit {
		t.Fatalf("resolved to %s, %v, want %s", got, err, commit)
	}
	dir, err := c.Model(t.Context(), name, commit)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"README.md", "chat_template.jinja", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
		"model.safetensors.index.json", "tokenizer.json"}
	if d := cmp.Diff(want, tree(t, dir)); d != "" {
		t.Error(d)
	}
	for _, f := range want {
		if b, err := os.ReadFile(filepath.Join(dir, f)); err != nil || !bytes.Equal(b, files[f]) {
			t.Errorf("%s: %v", f, err)
		}
	}
	if done == 0 || done != total {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	if card := c.Card(name, commit); string(card) != "# toy" || c.Card(name, strings.Repeat("0", 40)) != nil {
		t.Errorf("the card is %q", card)
	}
	repository := filepath.Join(c.Cache, "models--hone--toy")
	if b, err := os.ReadFile(filepath.Join(repository, "refs", "main")); string(b) != commit {
		t.Errorf("refs/main is %q, %v", b, err)
	}
	link, err := os.Readlink(filepath.Join(repository, "snapshots", commit, "config.json"))
	if err != nil || !strings.HasPrefix(link, "../../blobs/") {
		t.Errorf("snapshot links to %q, %v", link, err)
	}
	h.Requests()
	if _, err := c.Model(t.Context(), name, commit); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"GET /api/models/hone/toy/revision/" + commit}, h.Requests()); d != "" {
		t.Errorf("a second call asks for more than the list: %s", d)
	}
}

// A connection that breaks is taken up where it stopped, within a call and by a later process.
func TestResume(t *testing.T) {
	h := hubtest.New(t)
	commit := h.Add(name, hubtest.Repository{Files: toy(t)})
	c := client(t, h)
	const shard = "model-00001-of-00002.safetensors"
	h.Break(hubtest.Fault{Path: "GET /storage/" + commit + "/" + shard, Cut: 100_000})
	h.Break(hubtest.Fault{Path: "GET /storage/" + commit + "/" + shard, Status: 503})
	if _, err := c.Model(t.Context(), name, commit); err != nil {
		t.Fatal(err)
	}
	if requests := strings.Join(h.Requests(), "\n"); !strings.Contains(requests, shard+" bytes=100000-") {
		t.Errorf("no range was asked for:\n%s", requests)
	}

	c = client(t, h) // an empty cache
	c.Retries = 0
	h.Break(hubtest.Fault{Path: "GET /storage/" + commit + "/" + shard, Cut: 50_000})
	if _, err := c.Model(t.Context(), name, commit); err == nil {
		t.Fatal("a download that breaks off must fail")
	}
	h.Requests()
	if _, err := remake(t).Model(t.Context(), name, commit); err != nil {
		t.Fatal(err)
	}
	if requests := strings.Join(h.Requests(), "\n"); !strings.Contains(requests, shard+" bytes=50000-") {
		t.Errorf("a new process did not resume:\n%s", requests)
	}
}

func TestDamageIsFound(t *testing.T) {
	h := hubtest.New(t)
	commit := h.Add(name, hubtest.Repository{Files: toy(t)})
	c := client(t, h)
	h.Break(hubtest.Fault{Path: "GET /storage/" + commit + "/model-00001", Damage: true})
	_, err := c.Model(t.Context(), name, commit)
	if err == nil || !strings.Contains(err.Error(), "model-00001-of-00002.safetensors: SHA-256") {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Model(t.Context(), name, commit); err != nil {
		t.Errorf("the second try: %v", err)
	}
}

// Every refusal says what to do next, and none shows the token or a signed URL.
func TestRefusals(t *testing.T) {
	h := hubtest.New(t)
	h.Token = "hf_secretsecret"
	files := toy(t)
	h.Add("hone/private", hubtest.Repository{Files: files, Private: true})
	gated := h.Add("hone/gated", hubtest.Repository{Files: files, Gated: true})
	pickle := h.Add("hone/pickle", hubtest.Repository{Files: map[string][]byte{"config.json": []byte("{}"), "pytorch_model.bin": nil}})
	broken := h.Add(name, hubtest.Repository{Files: files})
	for _, test := range []struct{ name, revision, token, want string }{
		{"hone/none", "main", "", "no such model, or it is private: check the name, or set HF_TOKEN"},
		{"hone/private", "main", "", "no such model, or it is private"},
		{"hone/private", "main", "hf_wrongtoken", "no such model, or the token does not open it"},
		{"hone/gated", gated, "", "gated: ask for access at " + h.URL + "/hone/gated, then set HF_TOKEN"},
		{"hone/gated", gated, "hf_wrongtoken", "gated, and this account has no access: ask for it at " + h.URL + "/hone/gated"},
		{name, "v9", "", "hf://hone/toy@v9: no such revision"},
		{"hone/pickle", pickle, "", "no model.safetensors: only models in safetensors are read, pickles never"},
		{name, broken, "hf_secretsecret", "the hub answers 500"},
	} {
		client(t, h)
		t.Setenv("HF_TOKEN", test.token)
		c := remake(t)
		if strings.Contains(test.want, "500") {
			for range 5 {
				h.Break(hubtest.Fault{Path: "GET /storage/", Status: 500})
				h.Break(hubtest.Fault{Path: "GET /storage/", Status: 500})
			}
		}
		commit, err := c.Resolve(t.Context(), test.name, test.revision)
		if err == nil {
			_, err = c.Model(t.Context(), test.name, commit)
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s@%s: got %v, want %q", test.name, test.revision, err, test.want)
			continue
		}
		if s := err.Error(); strings.Contains(s, "hf_") || strings.Contains(s, "Signature") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
}

// The token opens what is private, from the environment or from where `hf auth login` leaves it. That it never
// reaches the storage host is checked by the test hub.
func TestToken(t *testing.T) {
	h := hubtest.New(t)
	h.Token = "hf_secretsecret"
	commit := h.Add(name, hubtest.Repository{Files: toy(t), Private: true})
	client(t, h)
	if err := os.WriteFile(filepath.Join(os.Getenv("HF_HOME"), "token"), []byte("hf_secretsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := remake(t)
	if _, err := c.Model(t.Context(), name, commit); err != nil {
		t.Error(err)
	}
	client(t, h)
	t.Setenv("HF_TOKEN", "hf_secretsecret")
	if _, err := remake(t).Model(t.Context(), name, commit); err != nil {
		t.Error(err)
	}
}

// What the cache has serves offline and while the hub is down; what it lacks is said.
func TestOffline(t *testing.T) {
	h := hubtest.New(t)
	commit := h.Add(name, hubtest.Repository{Files: toy(t)})
	client(t, h)
	t.Setenv("HF_HUB_OFFLINE", "1")
	c := remake(t)
	if _, err := c.Resolve(t.Context(), name, "main"); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE is set") {
		t.Errorf("empty cache: %v", err)
	}
	if _, err := c.Model(t.Context(), name, commit); err == nil || !strings.Contains(err.Error(), "not whole in the cache") {
		t.Errorf("empty cache: %v", err)
	}
	t.Setenv("HF_HUB_OFFLINE", "")
	c = remake(t)
	if _, err := c.Resolve(t.Context(), name, "main"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Model(t.Context(), name, commit); err != nil {
		t.Fatal(err)
	}
	h.Requests()
	t.Setenv("HF_HUB_OFFLINE", "1")
	both := func(when string) {
		c := remake(t)
		c.Retries = 0
		if got, err := c.Resolve(t.Context(), name, "main"); err != nil || got != commit {
			t.Errorf("%s: resolved to %s, %v", when, got, err)
		}
		if _, err := c.Model(t.Context(), name, commit); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	both("offline")
	if r := h.Requests(); len(r) > 0 {
		t.Errorf("offline asked for %q", r)
	}
	t.Setenv("HF_HUB_OFFLINE", "")
	t.Setenv("HF_ENDPOINT", "http://localhost:1")
	both("hub down")
}

func TestCancel(t *testing.T) {
	h := hubtest.New(t)
	commit := h.Add(name, hubtest.Repository{Files: toy(t)})
	c := client(t, h)
	c.Wait = time.Hour
	h.Break(hubtest.Fault{Path: "/api/", Status: 503})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Model(ctx, name, commit); err == nil {
		t.Error("a cancelled call succeeded")
	}
}

func TestParse(t *testing.T) {
	for source, want := range map[string]string{
		"hf://org/name":            "org/name main",
		"hf://org/name@v1":         "org/name v1",
		"hf://gpt2@refs/pr/1":      "gpt2 refs/pr/1",
		"hf://":                    "error",
		"hf://org/name@":           "error",
		"hf://org/../name":         "error",
		"hf://org/name@../x":       "error",
		"hf://a/b/c":               "error",
		"org/name":                 "error",
		"hf://org/na me":           "error",
		"hf://org--x/name":         "error",
		"hf://org/name@a?b=c":      "error",
		"hf://.org/name":           "error",
		"hf://org/name.x_y-z@main": "org/name.x_y-z main",
	} {
		repository, revision, err := Parse(source)
		got := repository + " " + revision
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
