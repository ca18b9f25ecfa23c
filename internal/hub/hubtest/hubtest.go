// Package hubtest is a server that speaks the hub's protocol, for tests: descriptions of revisions, small files
// answered at once, large ones (LFS) by a redirect to a second server on another host, ETags, ranges, gated and
// private repositories, and faults on demand. huggingface_hub's own client works with it too.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// Hub is the server. Its fields may be changed between requests by tests that hold no request open.
type Hub struct {
	URL   string // HF_ENDPOINT for it
	Token string // when set, needed by repositories that are Private or Gated

	mu           sync.Mutex
	repositories map[string]*Repository
	requests     []string
	faults       []Fault
	leaks        []string
	storage      *httptest.Server
}

// Repository is org/name at one commit, which branch main points to.
type Repository struct {
	Commit  string
	Files   map[string][]byte
	Private bool // without the token it looks as if it were not there
	Gated   bool // without the token it is refused by name
}

// Fault is what happens to the next request whose path contains Path.
type Fault struct {
	Path   string
	Status int // answer this instead
	Cut    int // or break the connection after so many bytes of the body
	Damage bool
}

// largeFile is the size from which a file counts as LFS, in bytes, beside every .safetensors.
const largeFile = 1 << 20

// New starts a hub without repositories. The test fails if the token ever reaches the second host.
func New(t testing.TB) *Hub {
	h := &Hub{repositories: map[string]*Repository{}}
	h.storage = httptest.NewServer(http.HandlerFunc(h.serveStorage))
	front := httptest.NewServer(http.HandlerFunc(h.serve))
	// Another name of this machine, so that the two differ in host as the hub and its storage do.
	h.URL = strings.Replace(front.URL, "127.0.0.1", "localhost", 1)
	t.Cleanup(func() {
		front.Close()
		h.storage.Close()
		if len(h.leaks) > 0 {
			t.Errorf("the token was sent to storage: %q", h.leaks)
		}
	})
	return h
}

// Add makes or replaces a repository and returns its commit, which follows from the files.
func (h *Hub) Add(name string, r Repository) string {
	sum := sha1.New()
	for _, file := range sorted(r.Files) {
		fmt.Fprintf(sum, "%s %d\n%s", file, len(r.Files[file]), r.Files[file])
	}
	r.Commit = hex.EncodeToString(sum.Sum(nil))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.repositories[name] = &r
	return r.Commit
}

// Break adds a fault; faults are used up in order.
func (h *Hub) Break(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, f)
}

// Requests returns "METHOD path[ range]" of all requests since the last call.
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.requests
	h.requests = nil
	return r
}

func (h *Hub) begin(r *http.Request) (f Fault, broken bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := r.Method + " " + r.URL.Path
	if x := r.Header.Get("Range"); x != "" {
		line += " " + x
	}
	h.requests = append(h.requests, line)
	for i, f := range h.faults {
		if strings.Contains(line, f.Path) {
			h.faults = append(h.faults[:i:i], h.faults[i+1:]...)
			return f, true
		}
	}
	return Fault{}, false
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	fault, broken := h.begin(r)
	if broken && fault.Status != 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(fault.Status)
		return
	}
	api, isAPI := strings.CutPrefix(r.URL.Path, "/api/models/")
	if !isAPI {
		api = strings.TrimPrefix(r.URL.Path, "/")
	}
	name, verb, rest := split(api)
	h.mu.Lock()
	repository := h.repositories[name]
	h.mu.Unlock()
	allowed := h.Token != "" && r.Header.Get("Authorization") == "Bearer "+h.Token
	if repository == nil || repository.Private && !allowed {
		refuse(w, http.StatusUnauthorized, "RepoNotFound")
		return
	}
	if isAPI {
		h.describe(w, repository, name, verb, rest)
		return
	}
	revision, file, _ := strings.Cut(rest, "/")
	content, ok := repository.Files[file]
	switch {
	case repository.Gated && !allowed:
		status := http.StatusForbidden
		if r.Header.Get("Authorization") == "" {
			status = http.StatusUnauthorized
		}
		refuse(w, status, "GatedRepo")
	case revision != repository.Commit && revision != "main":
		refuse(w, http.StatusNotFound, "RevisionNotFound")
	case !ok:
		refuse(w, http.StatusNotFound, "EntryNotFound")
	default:
		w.Header().Set("X-Repo-Commit", repository.Commit)
		h.file(w, r, file, content, fault)
	}
}

// split cuts org/name/VERB/rest.
func split(path string) (name, verb, rest string) {
	for _, verb := range []string{"resolve", "revision", "tree"} {
		if name, rest, ok := strings.Cut(path, "/"+verb+"/"); ok {
			return name, verb, rest
		}
	}
	return path, "", ""
}

func (h *Hub) describe(w http.ResponseWriter, r *Repository, name, verb, revision string) {
	if revision != r.Commit && revision != "main" {
		refuse(w, http.StatusNotFound, "RevisionNotFound")
		return
	}
	siblings, entries := []any{}, []any{}
	for _, file := range sorted(r.Files) {
		content := r.Files[file]
		siblings = append(siblings, map[string]string{"rfilename": file})
		entry := map[string]any{"type": "file", "path": file, "size": len(content), "oid": gitID(content)}
		if large(file, content) {
			entry["lfs"] = map[string]any{"oid": digest(content), "size": len(content), "pointerSize": 134}
		}
		entries = append(entries, entry)
	}
	w.Header().Set("Content-Type", "application/json")
	if verb == "tree" {
		json.NewEncoder(w).Encode(entries)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"id": name, "modelId": name, "sha": r.Commit, "private": r.Private,
		"gated": r.Gated, "tags": []string{}, "downloads": 0, "siblings": siblings})
}

func (h *Hub) file(w http.ResponseWriter, r *http.Request, name string, content []byte, fault Fault) {
	if !large(name, content) {
		w.Header().Set("ETag", `"`+gitID(content)+`"`)
		answer(w, r, content, fault)
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+digest(content)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
	w.Header().Set("ETag", `"of-the-redirect"`)
	http.Redirect(w, r, h.storage.URL+"/storage"+strings.SplitAfterN(r.URL.Path, "/resolve", 2)[1]+"?name="+
		strings.SplitN(r.URL.Path, "/resolve/", 2)[0]+"&Signature=not-for-logs", http.StatusFound)
}

// large tells whether a file is kept by LFS: in the second server, under its SHA-256.
func large(name string, content []byte) bool {
	return len(content) >= largeFile || strings.HasSuffix(name, ".safetensors")
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func gitID(content []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(content)), content...))
	return hex.EncodeToString(sum[:])
}

func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) {
	fault, broken := h.begin(r)
	if token := r.Header.Get("Authorization"); token != "" {
		h.mu.Lock()
		h.leaks = append(h.leaks, r.URL.Path)
		h.mu.Unlock()
	}
	if broken && fault.Status != 0 {
		w.WriteHeader(fault.Status)
		return
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/storage/"), "/", 2)
	h.mu.Lock()
	repository := h.repositories[strings.TrimPrefix(r.URL.Query().Get("name"), "/")]
	h.mu.Unlock()
	if repository == nil || len(parts) != 2 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer(w, r, repository.Files[parts[1]], fault)
}

// answer serves content with ranges, or a broken part of it.
func answer(w http.ResponseWriter, r *http.Request, content []byte, fault Fault) {
	if fault.Damage {
		content = bytes.Clone(content)
		content[len(content)/2] ^= 1
	}
	if fault.Cut > 0 && r.Method == http.MethodGet {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:fault.Cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", code)
	w.WriteHeader(status)
}

func sorted(files map[string][]byte) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
