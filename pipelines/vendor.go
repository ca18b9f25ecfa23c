package pipelines

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cuelang.org/go/mod/modfile"

	"github.com/hone-ml/hone/internal/atomicfile"
	"github.com/hone-ml/hone/schemas"
)

// Vendor writes the schemas where plain cue and editors find them: below cue.mod/pkg of the module that dir lies in,
// which it makes at dir where there is none. It returns the folder with the schemas. Files there that this hone's
// schemas do not have are removed.
func Vendor(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	root := moduleRoot(dir, "")
	if root == "" {
		root = dir
		if err := writeFile(moduleFile(root), moduleOf(dir)); err != nil {
			return "", err
		}
	} else if m, err := readModule(root); err != nil {
		return "", err
	} else if modulePath(m) == hone() {
		return "", usagef("%s: the module is hone's own, where cue finds the schemas as they are", shownPath(root))
	}
	folder := filepath.Join(root, "cue.mod", "pkg", filepath.FromSlash(schemas.ImportPath))
	names, err := fs.Glob(schemas.Files, "*.cue")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		b, err := schemas.Files.ReadFile(name)
		if err != nil {
			return "", err
		}
		if err := writeFile(filepath.Join(folder, name), string(b)); err != nil {
			return "", err
		}
	}
	stale, err := filepath.Glob(filepath.Join(folder, "*.cue"))
	if err != nil {
		return "", err
	}
	for _, path := range stale {
		if _, err := schemas.Files.ReadFile(filepath.Base(path)); err != nil {
			if err := os.Remove(path); err != nil {
				return "", err
			}
		}
	}
	return folder, nil
}

func moduleFile(root string) string { return filepath.Join(root, "cue.mod", "module.cue") }

func readModule(root string) (*modfile.File, error) {
	path := moduleFile(root)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m, err := modfile.ParseNonStrict(b, path)
	if err != nil {
		return nil, (&Pipeline{Dir: root, Files: []string{path}}).cueErrors(err)
	}
	return m, nil
}

// modulePath is a module's path without its version.
func modulePath(m *modfile.File) string {
	path, _, _ := strings.Cut(m.Module, "@")
	return path
}

// moduleOf is the module.cue of a new module at dir. Its name is never asked for over a network.
func moduleOf(dir string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, strings.ToLower(filepath.Base(dir)))
	if name = strings.Trim(name, "-"); name == "" {
		name = "pipeline"
	}
	return fmt.Sprintf("module: \"pipeline.local/%s@v0\"\nlanguage: version: \"%s\"\n", name, language)
}

// writeFile replaces a file, whose folder it makes.
func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(content), 0o644)
}
