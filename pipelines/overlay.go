package pipelines

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/mod/modfile"

	"github.com/hone-ml/hone/schemas"
)

const language = "v0.17.0" // of the module that a folder without cue.mod is taken for

// overlay puts the schemas of this hone where the loader finds them, whatever is on disk. Four cases:
//
//   - no cue.mod: the folder itself becomes a module
//   - the module is hone's own: the schemas are a package of it
//   - the module requires hone's: the requirement goes, or the loader would ask the network
//   - a vendored copy: masked, and warned about where it differs from this hone's
type overlay struct {
	root     string // of the module
	files    map[string]load.Source
	schemas  string   // the folder in which the loader finds the schemas
	warnings []string // a vendored copy that differs
}

func newOverlay(dir, within string) (*overlay, error) {
	o := &overlay{files: map[string]load.Source{}}
	module := hone()
	o.root = moduleRoot(dir, within)
	if o.root == "" {
		o.root = dir
		o.add(moduleFile(dir), moduleOf(dir))
	} else {
		m, err := readModule(o.root)
		if err != nil {
			return nil, err
		}
		if modulePath(m) == module {
			o.schemas = filepath.Join(o.root, strings.TrimPrefix(schemas.ImportPath, module+"/"))
			return o, o.addSchemas(false)
		}
		if removeDep(m, module) {
			b, err := modfile.Format(m)
			if err != nil {
				return nil, err
			}
			o.add(moduleFile(o.root), string(b))
		}
	}
	o.schemas = filepath.Join(o.root, "cue.mod", "pkg", filepath.FromSlash(schemas.ImportPath))
	return o, o.addSchemas(true)
}

// hone is the path of the module that publishes the schemas.
func hone() string { return strings.TrimSuffix(schemas.ImportPath, "/schemas") }

func (o *overlay) add(path, content string) { o.files[path] = load.FromString(content) }

// addSchemas overlays the schemas and blanks out files beside them that this hone does not have.
func (o *overlay) addSchemas(warn bool) error {
	ours := wiring()
	entries, err := os.ReadDir(o.schemas)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	differs := false
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".cue") {
			continue
		}
		published, err := schemas.Files.ReadFile(e.Name())
		if err != nil {
			differs = true
			o.add(filepath.Join(o.schemas, e.Name()), "package schemas\n")
			continue
		}
		if there, err := os.ReadFile(filepath.Join(o.schemas, e.Name())); err != nil || string(there) != string(published) {
			differs = true
		}
	}
	if warn && differs {
		o.warnings = append(o.warnings, shownPath(o.schemas)+": not the schemas of this hone, which uses its own; hone schema vendor updates them")
	}
	for name, content := range ours {
		o.add(filepath.Join(o.schemas, name), content)
	}
	return nil
}

// owns says whether a file is one of the schemas'.
func (o *overlay) owns(file string) bool { return o != nil && filepath.Dir(file) == o.schemas }

// moduleRoot is the nearest folder at dir or above it with cue.mod/module.cue, or empty; none above within, where that is set.
func moduleRoot(dir, within string) string {
	for {
		if _, err := os.Stat(moduleFile(dir)); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir || dir == within {
			return ""
		}
		dir = parent
	}
}

// Above is a CUE file of a package in a folder above dir, within the module that dir is in: CUE unifies it with what dir has of that package.
// It is "" where there is none.
func Above(dir, name string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	root := moduleRoot(dir, "")
	for root != "" && dir != root {
		dir = filepath.Dir(dir)
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, file := range files {
			path := filepath.Join(dir, file.Name())
			if filepath.Ext(path) != ".cue" {
				continue
			}
			f, err := parser.ParseFile(path, nil, parser.PackageClauseOnly)
			if err == nil && f.PackageName() == name {
				return shownPath(path), nil
			}
		}
	}
	return "", nil
}

func removeDep(m *modfile.File, module string) bool {
	removed := false
	for path := range m.Deps {
		if base, _, _ := strings.Cut(path, "@"); base == module {
			delete(m.Deps, path)
			removed = true
		}
	}
	return removed
}
