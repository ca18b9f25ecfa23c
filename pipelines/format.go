package pipelines

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// Unformatted names the files at a pattern of CompileAll that cue fmt would write otherwise, at the first line that differs: those
// of the folder, whichever package they are of. A file that cannot be parsed is CompileAll's to tell of.
func Unformatted(pattern string) (Errors, error) {
	files, err := filesAt(pattern)
	if err != nil {
		return nil, err
	}
	var found Errors
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		syntax, err := parser.ParseFile(file, text, parser.ParseComments)
		if err != nil {
			continue
		}
		want, err := format.Node(syntax)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(text, want) {
			name := shownPath(file)
			pos := token.Position{Filename: name, Line: 1 + alike(text, want), Column: 1}
			found = append(found, Error{Pos: pos, Msg: "not as cue fmt writes it: cue fmt " + name})
		}
	}
	return found, nil
}

// alike counts the lines at the beginning that are equal.
func alike(a, b []byte) int {
	n := 0
	for i := 0; i < min(len(a), len(b)) && a[i] == b[i]; i++ {
		if a[i] == '\n' {
			n++
		}
	}
	return n
}

// filesAt lists the CUE files of the folder that a pattern of CompileAll names, or below.
func filesAt(pattern string) (all []string, err error) {
	root, recursive := strings.CutSuffix(pattern, "...")
	if recursive {
		root, err = absolute(root)
	} else {
		root, _, err = split(pattern)
	}
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (!recursive || passedOver(name)):
			return fs.SkipDir
		case d.Type().IsRegular() && filepath.Ext(name) == ".cue" && !strings.HasPrefix(name, "_") && !strings.HasPrefix(name, "."):
			all = append(all, path)
		}
		return nil
	})
	return all, err
}

// passedOver tells of a folder whose packages ./... does not mean.
func passedOver(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "cue.mod" || name == "testdata"
}
