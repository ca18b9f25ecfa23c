package pipelines

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// packagesIn is the CUE packages of a folder with their files.
func packagesIn(dir string) (map[string][]string, error) {
	files, err := filesIn(dir)
	packages := map[string][]string{}
	for _, path := range files {
		if pkg, err := packageOf(path); err == nil && pkg != "_" {
			packages[pkg] = append(packages[pkg], path)
		}
	}
	return packages, err
}

// filesIn is the CUE files of a folder. Those that no package includes (names that begin with _ or ., and _tool.cue and
// _test.cue) are left out, as the loader leaves them out.
func filesIn(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, usagef("%v", err)
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || !strings.HasSuffix(name, ".cue") || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") ||
			strings.HasSuffix(name, "_tool.cue") || strings.HasSuffix(name, "_test.cue") {
			continue
		}
		files = append(files, filepath.Join(dir, name))
	}
	return files, nil
}

// packageOf reads a file's package clause.
func packageOf(file string) (string, error) {
	f, err := parser.ParseFile(file, nil, parser.PackageClauseOnly)
	if err != nil {
		return "", (&Pipeline{Dir: filepath.Dir(file), Files: []string{file}}).cueErrors(err)
	}
	if name := f.PackageName(); name != "" {
		return name, nil
	}
	return "", Errors{{Pos: position(file, 1, 1), Msg: "no package clause: a pipeline's files begin with package NAME"}}
}

func parseFile(file string) (*ast.File, error) { return parser.ParseFile(file, nil) }

func position(file string, line, column int) token.Position {
	return token.Position{Filename: shownPath(file), Line: line, Column: column}
}

func names[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// wired is a stage's definition as CUE prints it, with what only hone's wiring has.
var wired = regexp.MustCompile(`\{.*#Ports.*\}`)

// oneLine formats a message of CUE's as a line.
func oneLine(format string, args []any) string {
	return wired.ReplaceAllString(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "), "{…}")
}
