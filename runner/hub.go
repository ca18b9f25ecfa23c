package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/hone-ml/hone/internal/atomicfile"
)

// hubLock is hone.lock: the commit that each hub source meant when it was first run. It is committed with the
// pipeline, so that everyone trains on the same bytes.
//
//	{"hub": {"hf://org/name@main": "<commit>"}}
type hubLock struct {
	path  string
	mu    sync.Mutex
	Hub   map[string]string `json:"hub"`
	dirty bool
}

func readHubLock(path string) (*hubLock, error) {
	l := &hubLock{path: path, Hub: map[string]string{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if l.Hub == nil {
		l.Hub = map[string]string{}
	}
	return l, nil
}

// splitHub takes hf://org/name@revision apart. Without a revision it is main. Data sets are hf://datasets/org/name.
func splitHub(source string) (repo, revision string) {
	repo = strings.TrimPrefix(source, "hf://")
	if at := strings.LastIndexByte(repo, '@'); at >= 0 {
		return repo[:at], repo[at+1:]
	}
	return repo, "main"
}

// isCommit says whether a revision is a commit already, and so needs no entry.
func isCommit(revision string) bool {
	return len(revision) == 40 && strings.Trim(revision, "0123456789abcdef") == ""
}

// commit is what a hub source means; empty where the lock has no entry for it.
func (l *hubLock) commit(source string) string {
	repo, revision := splitHub(source)
	if isCommit(revision) {
		return revision
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Hub["hf://"+repo+"@"+revision]
}

// Commit is what hone.lock says that a hub source means; empty where it says nothing.
func (r *Runner) Commit(source string) string { return r.lock.commit(source) }

// add notes what a source means. An entry that is there stays.
func (l *hubLock) add(source, commit string) {
	repo, revision := splitHub(source)
	l.mu.Lock()
	defer l.mu.Unlock()
	if name := "hf://" + repo + "@" + revision; l.Hub[name] == "" {
		l.Hub[name] = commit
		l.dirty = true
	}
}

// save writes the lock beside the pipeline, where it has new entries.
func (l *hubLock) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dirty {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		return err
	}
	if err := atomicfile.Write(l.path, b.Bytes(), 0o644); err != nil {
		return err
	}
	l.dirty = false
	return nil
}
