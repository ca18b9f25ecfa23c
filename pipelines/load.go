package pipelines

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/token"
	"cuelang.org/go/mod/module"

	"github.com/hone-ml/hone/schemas"
)

// Options of Load.
type Options struct {
	Tags   []string // key=value, or a bare name, as cue's -t
	Except []string // absolute folders whose packages a pattern of several does not mean
	Below  []string // absolute folders: a pattern of several means the packages in them and below alone; all where empty
	Absent bool     // files that stages name need not be there: a revision of the past has those that were committed
	Within string   // absolute folder that what is said relatively does not leave: of what lies above it nothing is read
}

// Pipeline is a loaded pipeline: evaluated, its edges wired, not yet judged.
type Pipeline struct {
	Dir      string // absolute folder of the package; relative sources resolve from it
	Package  string
	Warnings []string
	Files    []string // absolute, the package's own CUE files
	opts     Options  // that were given
	context  *cue.Context
	value    cue.Value
	instance *build.Instance
	overlay  *overlay
	reader   *reader
	names    map[string]string // of files, as they are shown
}

// Load evaluates the pipeline at path: a folder, FOLDER:PACKAGE, or a file, which means its package. A path that does
// not name exactly one pipeline is a *UsageError; CUE that cannot be evaluated at all gives Errors.
func Load(path string, opts Options) (*Pipeline, error) {
	f, err := findOne(path)
	if err != nil {
		return nil, err
	}
	return f.load(opts)
}

// found is a package that may be a pipeline; what unpackaged tells of a folder, where Package is empty.
type found struct{ Dir, Package string }

func (f found) below(dir string) bool {
	rel, err := filepath.Rel(dir, f.Dir)
	return err == nil && filepath.IsLocal(rel)
}

// embeds says whether a file of the package embeds #Pipeline, or cannot be read that far.
func (f found) embeds() bool {
	packages, err := packagesIn(f.Dir)
	return err != nil || slices.ContainsFunc(packages[f.Package], func(file string) bool {
		_, err := parseFile(file)
		return err != nil || embedsPipeline(file)
	})
}

// load is load1 of what must be a pipeline.
func (f found) load(opts Options) (*Pipeline, error) {
	p, err := load1(f.Dir, f.Package, opts)
	if err == nil && !p.isPipeline() {
		return nil, usagef("%s: package %s is no pipeline: it does not embed #Pipeline of %q", shownPath(f.Dir), f.Package, schemas.ImportPath)
	}
	return p, err
}

// absolute is a folder's absolute path; that of the working folder where it is empty.
func absolute(dir string) (string, error) { return filepath.Abs(cmp.Or(dir, ".")) }

// findOne is the package that a path names.
func findOne(path string) (found, error) {
	dir, pkg, err := split(path)
	if err != nil {
		return found{}, err
	}
	packages, err := packagesIn(dir)
	if err != nil {
		return found{}, err
	}
	if pkg == "" {
		if pkg, err = choose(dir, packages); err != nil {
			return found{}, err
		}
	} else if _, ok := packages[pkg]; !ok {
		return found{}, usagef("%s: no package %s%s", shownPath(dir), pkg, Suggest(pkg, names(packages)))
	}
	return found{dir, pkg}, nil
}

// findBelow is the packages of a folder and of those below it, but for hidden ones, those of modules and of tests' data.
func findBelow(root string) (all []found, err error) {
	err = filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		if dir != root && passedOver(d.Name()) {
			return fs.SkipDir
		}
		packages, err := packagesIn(dir)
		if err != nil {
			return nil //nolint:nilerr // WalkDir is about to read the folder and to meet the same
		}
		for _, pkg := range names(packages) {
			all = append(all, found{dir, pkg})
		}
		if unpackaged(dir) != nil {
			all = append(all, found{Dir: dir})
		}
		return nil
	})
	return all, err
}

// loadTagged loads one package of many with those of the tags that it has, which are taken.
func loadTagged(f found, opts Options) (p *Pipeline, taken []string, err error) {
	for {
		p, err := load1(f.Dir, f.Package, opts)
		var missing *noTagError
		if !errors.As(err, &missing) {
			return p, opts.Tags, err
		}
		rest := slices.DeleteFunc(slices.Clone(opts.Tags), func(tag string) bool {
			name, _, _ := strings.Cut(tag, "=")
			return name == missing.tag
		})
		if len(rest) == len(opts.Tags) {
			return nil, nil, err
		}
		opts.Tags = rest
	}
}

// split reads FOLDER, FOLDER:PACKAGE or FILE. A folder whose name holds a colon wins over a package.
func split(path string) (dir, pkg string, err error) {
	path = cmp.Or(path, ".")
	info, statErr := os.Stat(path)
	if statErr != nil {
		if i := strings.LastIndex(path, ":"); i >= 0 {
			pkg = path[i+1:]
			path = cmp.Or(path[:i], ".")
			info, statErr = os.Stat(path)
		}
		if statErr != nil || pkg != "" && !info.IsDir() {
			return "", "", usagef("%s: no such folder or file", path)
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", "", err
	}
	if info.IsDir() {
		return abs, pkg, nil
	}
	if filepath.Ext(abs) != ".cue" {
		return "", "", usagef("%s: not a CUE file", path)
	}
	name, err := packageOf(abs)
	if err != nil {
		return "", "", err
	}
	return filepath.Dir(abs), name, nil
}

// choose picks the pipeline of a folder: the only package, else the only one that embeds #Pipeline.
func choose(dir string, packages map[string][]string) (string, error) {
	all := names(packages)
	if len(all) == 0 {
		if err := packageless(dir); err != nil {
			return "", err
		}
		return "", usagef("%s: no CUE package here; hone init makes a pipeline", shownPath(dir))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	var found []string
	for _, pkg := range all {
		if slices.ContainsFunc(packages[pkg], embedsPipeline) {
			found = append(found, shownPath(dir)+":"+pkg)
		}
	}
	if len(found) == 1 {
		return found[0][strings.LastIndex(found[0], ":")+1:], nil
	}
	if len(found) == 0 {
		for _, pkg := range all {
			found = append(found, shownPath(dir)+":"+pkg)
		}
	}
	return "", usagef("%s: which pipeline? name one of %s", shownPath(dir), strings.Join(found, ", "))
}

// packageless tells of the files of a folder without a package why they are of none.
func packageless(dir string) error {
	files, err := filesIn(dir)
	if err != nil {
		return err
	}
	var all, own Errors
	for _, file := range files {
		if _, err := packageOf(file); errors.As(err, &own) {
			all = append(all, own...)
		}
	}
	return all.sorted()
}

// unpackaged tells of the files of a folder that no package has and that may have been meant for one: they embed #Pipeline, or are no
// CUE at all, as where a merge left its marks above the package clause.
func unpackaged(dir string) error {
	files, err := filesIn(dir)
	if err != nil {
		return err
	}
	var all, own Errors
	for _, file := range files {
		if _, err := packageOf(file); !errors.As(err, &own) {
			continue
		}
		if _, err := parseFile(file); err != nil {
			errors.As((&Pipeline{Dir: dir, Files: []string{file}}).cueErrors(err), &own)
		} else if !embedsPipeline(file) {
			continue
		}
		all = append(all, own...)
	}
	return all.sorted()
}

// noTag is what CUE says of -t NAME=VALUE and of -t NAME where no file has the tag.
var noTag = regexp.MustCompile(`^(?:no tag for "(.*)"|tag "(.*)" not used in any file)$`)

// unknownTag says of a tag, with a value or bare, that there is none, and which there are.
func unknownTag(name string, bare bool, all []tag) string {
	var tags []string
	for _, t := range all {
		tags = append(tags, t.name)
	}
	switch {
	case len(tags) == 0:
		return "no tag " + name + "; there is none at all"
	case bare && slices.Contains(tags, name):
		return "the tag " + name + " takes a value: " + name + "=VALUE"
	}
	return "no tag " + name + Suggest(name, tags)
}

// tag is a field that the command line may set, @tag(NAME).
type tag struct {
	name  string
	field *ast.Field
}

// tagsOf is the tags that a package's files have.
func tagsOf(inst *build.Instance) (tags []tag) {
	for _, f := range inst.Files {
		ast.Walk(f, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				for _, a := range field.Attrs {
					if key, body := a.Split(); key == "tag" {
						name, _, _ := strings.Cut(body, ",")
						tags = append(tags, tag{strings.TrimSpace(name), field})
					}
				}
			}
			return true
		}, nil)
	}
	return tags
}

// unsetTag is the tag without a value that leaves v open: v reads its field, or one of the places that CUE names lies in it.
func (p *Pipeline) unsetTag(v cue.Value, places []token.Pos) string {
	op, parts := v.Expr()
	if op != cue.AndOp {
		parts = []cue.Value{v}
	}
	read := map[string]bool{}
	for _, part := range append(parts, v) {
		if src := part.Source(); src != nil {
			places = append(places, src.Pos())
			ast.Walk(src, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					read[id.Name] = true
				}
				return true
			}, nil)
		}
	}
	for _, t := range tagsOf(p.instance) {
		if slices.ContainsFunc(p.opts.Tags, func(given string) bool { name, _, _ := strings.Cut(given, "="); return name == t.name }) {
			continue
		}
		from, to := t.field.Pos(), t.field.End()
		if name, _, _ := ast.LabelName(t.field.Label); read[name] || slices.ContainsFunc(places, func(at token.Pos) bool {
			return at.IsValid() && at.Filename() == from.Filename() && at.Offset() >= from.Offset() && at.Offset() < to.Offset()
		}) {
			return t.name
		}
	}
	return ""
}

// load1 loads and evaluates one package.
func load1(dir, pkg string, opts Options) (*Pipeline, error) {
	o, err := newOverlay(dir, opts.Within)
	if err != nil {
		return nil, err
	}
	what, err := loadable(o.root, dir, pkg)
	if err != nil {
		return nil, err
	}
	r := newReader(dir, o, opts.Within)
	instances := load.Instances(what, &load.Config{
		Dir: dir, Package: pkg, ModuleRoot: o.root, Overlay: o.files, Tags: opts.Tags, ParseFile: r.parse,
	})
	inst := instances[0]
	p := &Pipeline{Dir: dir, Package: pkg, Warnings: o.warnings, opts: opts, context: cuecontext.New(), instance: inst, overlay: o, reader: r, names: map[string]string{}}
	if inst.Err != nil {
		if tag := noTag.FindStringSubmatch(inst.Err.Error()); tag != nil {
			name := tag[1] + tag[2]
			return nil, &noTagError{UsageError{shownPath(dir) + ": " + unknownTag(name, tag[2] != "", tagsOf(inst))}, name}
		}
		return nil, p.cueErrors(inst.Err)
	}
	for _, f := range inst.BuildFiles {
		p.Files = append(p.Files, f.Filename)
	}
	r.imports(inst, map[*build.Instance]bool{})
	p.value = p.context.BuildInstance(inst)
	if err := p.value.Err(); err != nil && !p.isPipeline() {
		return nil, p.cueErrors(err)
	}
	return p, nil
}

// loadable is what the loader is asked for: the folder, or the package's files where the folder's name cannot be part of an
// import path (a space, a letter beyond ASCII), since the loader finds no module around such a folder.
func loadable(root, dir, pkg string) ([]string, error) {
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	if rel == "." || module.CheckImportPath("module.local/"+filepath.ToSlash(rel)) == nil {
		return []string{"."}, nil
	}
	packages, err := packagesIn(dir)
	return packages[pkg], err
}

var pipelineMark = cue.MakePath(cue.Hid("_pipeline", schemas.ImportPath))

func (p *Pipeline) isPipeline() bool { return p.value.LookupPath(pipelineMark).Exists() }

// schemas is the schemas that the pipeline was evaluated with.
func (p *Pipeline) schemas() *build.Instance {
	seen := map[*build.Instance]bool{}
	var find func(i *build.Instance) *build.Instance
	find = func(i *build.Instance) *build.Instance {
		if seen[i] {
			return nil
		}
		seen[i] = true
		if path, _, _ := strings.Cut(i.ImportPath, "@"); path == schemas.ImportPath {
			return i
		}
		for _, next := range i.Imports {
			if found := find(next); found != nil {
				return found
			}
		}
		return nil
	}
	inst := find(p.instance)
	if inst == nil {
		panic("a pipeline imports the schemas") // it embeds #Pipeline
	}
	return inst
}

// embedsPipeline says whether a file's text embeds a #Pipeline. It chooses among packages of one folder; whether the
// chosen one is a pipeline is judged by its value.
func embedsPipeline(file string) bool {
	f, err := parseFile(file)
	if err != nil {
		return false
	}
	for _, d := range f.Decls {
		if e, ok := d.(*ast.EmbedDecl); ok {
			if s, ok := e.Expr.(*ast.SelectorExpr); ok {
				if name, _, _ := ast.LabelName(s.Sel); name == "#Pipeline" {
					return true
				}
			}
		}
	}
	return false
}
