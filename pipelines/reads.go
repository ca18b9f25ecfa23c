package pipelines

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/scanner"
	"cuelang.org/go/cue/token"
)

// Reads is what the evaluation of a pipeline has read, by content, so that it can be told whether another would read the same.
type Reads struct {
	Files   []ReadFile
	Folders []ReadFolder // in which the loader looked for files
	Unknown bool         // there is more, which cannot be told
}

// ReadFile is a file as it was read. Tokens is of CUE alone: what it says without comments, white space and line breaks.
type ReadFile struct {
	Path   string
	Sum    [sha256.Size]byte
	Tokens [sha256.Size]byte
}

// ReadFolder is the names of a folder's CUE files, and whether it is a module.
type ReadFolder struct {
	Path string
	Sum  [sha256.Size]byte
}

// Same says whether an evaluation now would read the same, and exactly whether the positions in it would be the same too.
func (r *Reads) Same() (same, exactly bool) {
	if r.Unknown {
		return false, false
	}
	for _, f := range r.Folders {
		if namesSum(f.Path) != f.Sum {
			return false, false
		}
	}
	exactly = true
	for _, f := range r.Files {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			return false, false
		}
		if sha256.Sum256(b) == f.Sum {
			continue
		}
		if f.Tokens == [sha256.Size]byte{} || tokensSum(b) != f.Tokens {
			return false, false
		}
		exactly = false
	}
	return true, exactly
}

// reader notes what the loader reads.
type reader struct {
	over  *overlay // whose files come with hone, and so are not told
	mu    sync.Mutex
	files map[string]ReadFile
	dirs  map[string]ReadFolder
	lost  bool
}

func newReader(dir string, o *overlay, within string) *reader {
	root := o.root
	r := &reader{over: o, files: map[string]ReadFile{}, dirs: map[string]ReadFolder{}}
	for d := dir; ; d = filepath.Dir(d) { // a package has files of the folders above it, up to its module's
		r.folder(d)
		if d == filepath.Dir(d) || d == within || d == root && exists(moduleFile(root)) {
			break
		}
	}
	if exists(moduleFile(root)) {
		r.data(moduleFile(root))
	}
	return r
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// parse is the loader's way to read CUE.
func (r *reader) parse(name string, src any, cfg parser.Config) (*ast.File, error) {
	b, ok := src.([]byte)
	if _, ours := r.over.files[name]; ours {
		return parser.ParseFile(name, src, cfg)
	}
	if ok {
		f := ReadFile{Path: name, Sum: sha256.Sum256(b), Tokens: tokensSum(b)}
		r.mu.Lock()
		r.files[name] = f
		r.mu.Unlock()
	} else {
		r.mu.Lock()
		r.lost = true
		r.mu.Unlock()
	}
	return parser.ParseFile(name, src, cfg)
}

// folder notes the names in a folder, once.
func (r *reader) folder(dir string) {
	if _, ok := r.dirs[dir]; !ok {
		r.dirs[dir] = ReadFolder{dir, namesSum(dir)}
	}
}

// data notes a file that is read as it is.
func (r *reader) data(path string) {
	b, err := os.ReadFile(path)
	if err != nil {
		r.lost = true
		return
	}
	r.files[path] = ReadFile{Path: path, Sum: sha256.Sum256(b)}
}

// imports notes where the packages that an instance imports lie, and the data that its files embed.
func (r *reader) imports(inst *build.Instance, seen map[*build.Instance]bool) {
	if seen[inst] {
		return
	}
	seen[inst] = true
	for _, f := range inst.Files {
		for _, path := range embedded(f) {
			if strings.ContainsAny(path, "*?[") {
				r.lost = true
			} else {
				r.data(path)
			}
		}
	}
	for _, next := range inst.Imports {
		if next.Dir != "" {
			r.folder(next.Dir)
		}
		path, _, _ := strings.Cut(next.ImportPath, "@")
		path, _, _ = strings.Cut(path, ":")
		for _, place := range []string{"pkg", "gen", "usr"} {
			r.folder(filepath.Join(r.over.root, "cue.mod", place, filepath.FromSlash(path)))
		}
		r.imports(next, seen)
	}
}

// embedded is the files, or the patterns of files, that a file of CUE takes in by @embed.
func embedded(f *ast.File) (paths []string) {
	ast.Walk(f, func(n ast.Node) bool {
		a, ok := n.(*ast.Attribute)
		if !ok {
			return true
		}
		if key, body := a.Split(); key == "embed" {
			for _, arg := range strings.Split(body, ",") {
				name, value, _ := strings.Cut(strings.TrimSpace(arg), "=")
				if name == "file" || name == "glob" {
					value = strings.Trim(strings.Trim(value, "#"), `"`)
					paths = append(paths, filepath.Join(filepath.Dir(f.Filename), filepath.FromSlash(value)))
				}
			}
		}
		return true
	}, nil)
	return paths
}

// reads is what was noted. The files that are read as they are must still be what they were, since they were noted beside their reading.
func (r *reader) reads() *Reads {
	all := &Reads{Unknown: r.lost}
	for _, path := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[path]
		if f.Tokens == [sha256.Size]byte{} {
			if b, err := os.ReadFile(path); err != nil || sha256.Sum256(b) != f.Sum {
				all.Unknown = true
			}
		}
		all.Files = append(all.Files, f)
	}
	for _, path := range slices.Sorted(maps.Keys(r.dirs)) {
		if path != r.over.schemas {
			all.Folders = append(all.Folders, r.dirs[path])
		}
	}
	return all
}

// namesSum is of what the loader would find in a folder; a folder that is not there has nothing.
func namesSum(dir string) [sha256.Size]byte {
	h := sha256.New()
	if f, err := os.Open(dir); err == nil {
		names, _ := f.Readdirnames(-1)
		f.Close()
		slices.Sort(names)
		for _, name := range names {
			if strings.HasSuffix(name, ".cue") {
				h.Write([]byte(name + "\x00"))
			}
		}
	}
	if exists(moduleFile(dir)) {
		h.Write([]byte("/"))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// tokensSum is of what a file of CUE says. A line break and a comma are one, and none before a closing bracket means anything.
func tokensSum(b []byte) [sha256.Size]byte {
	var s scanner.Scanner
	broken := false
	s.Init(token.NewFile("", -1, len(b)), b, func(token.Pos, string, []any) { broken = true }, 0)
	var said bytes.Buffer
	var open []int // brackets within each interpolation
	comma := false
	for {
		_, tok, lit := s.Scan()
		if tok == token.EOF {
			break
		}
		last := len(open) - 1
		switch tok {
		case token.COMMA:
			comma = said.Len() > 0
			continue
		case token.RBRACE, token.RBRACK:
			comma = false
		case token.INTERPOLATION:
			open = append(open, 0)
		case token.LPAREN:
			if last >= 0 {
				open[last]++
			}
		case token.RPAREN:
			comma = false
			if last >= 0 {
				open[last]--
			}
			if last >= 0 && open[last] == 0 {
				if lit = s.ResumeInterpolation(); !strings.HasSuffix(lit, "(") {
					open = open[:last]
				}
			}
		}
		if comma {
			said.WriteString(",\x00")
			comma = false
		}
		said.WriteString(tok.String())
		said.WriteByte(1)
		said.WriteString(lit)
		said.WriteByte(0)
	}
	if broken {
		return sha256.Sum256(b) // as it is
	}
	return sha256.Sum256(said.Bytes())
}
