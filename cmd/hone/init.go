package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/parser"
	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/examples"
	"github.com/hone-ml/hone/pipelines"
)

func initCommand() *cobra.Command {
	var f flags
	var template string
	var list strings.Builder
	templates := slices.DeleteFunc(slices.Sorted(maps.Keys(examples.Templates)), func(name string) bool { return name == examples.Default })
	templates = slices.Insert(templates, 0, examples.Default)
	for _, name := range templates {
		fmt.Fprintf(&list, "\n  %-12s%s", name, wrapped(examples.Templates[name], 80-14, strings.Repeat(" ", 14)))
	}
	c := &cobra.Command{
		Use:   "init [DIR] [--template NAME]",
		Short: "a new experiment folder that runs as it is",
		Long: `init makes an experiment folder: a pipeline with its data, a CUE module, and the schemas where cue and
editors find them. Files that are there already are left alone, and nothing is written where one is in the way.

Templates:` + list.String() + `

What a template needs besides is said at once, with the command that gets it.`,
		Example: `  hone init mine && hone run mine
  hone init mine --template quickstart`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			files, err := examples.Template(template)
			if err != nil {
				return usage("--template %s: one of %s", template, strings.Join(templates, ", "))
			}
			if err := usable(dir); err != nil {
				return err
			}
			if err := apart(dir, files); err != nil {
				return err
			}
			written, err := writeTemplate(dir, files)
			if err != nil {
				return err
			}
			vendored, err := pipelines.Vendor(dir)
			var own *pipelines.UsageError
			if err != nil && !errors.As(err, &own) { // inside hone's own module the schemas are there already
				return err
			}
			if f.json {
				missing := pipelines.Errors{}
				if err := compiled(dir); err != nil && !errors.As(err, &missing) {
					return err
				}
				return printJSON(c, map[string]any{
					"dir": dir, "template": template, "files": written, "schemas": vendored, "missing": findings(missing),
				})
			}
			made := fmt.Sprintf("%s: %s from the template %s", dir, strings.Join(written, ", "), template)
			fmt.Fprintln(c.OutOrStdout(), wrapped(made, width(c.OutOrStdout())-2, "  "))
			return nextStep(c, dir)
		},
	}
	c.Flags().StringVar(&template, "template", examples.Default, "`NAME` of the template, of those above")
	f.register(c, "json")
	return c
}

// usable refuses a path where no folder can be.
func usable(dir string) error {
	for path := filepath.Clean(dir); ; path = filepath.Dir(path) {
		switch info, err := os.Stat(path); {
		case err == nil && !info.IsDir():
			return usage("%s: a file, not a folder", path)
		case err == nil || path == filepath.Dir(path):
			return nil
		}
	}
}

// apart refuses a folder below a pipeline of the template's own package: CUE unifies what a module's folders above have of a package with what
// is in the folder.
func apart(dir string, files fs.FS) error {
	b, err := fs.ReadFile(files, "pipeline.cue")
	if err != nil {
		return err
	}
	of, err := parser.ParseFile("pipeline.cue", b, parser.PackageClauseOnly)
	if err != nil {
		return err
	}
	above, err := pipelines.Above(dir, of.PackageName())
	if err != nil || above == "" {
		return err
	}
	return usage("%s: %s, in a folder above it, is of the package %s too, and CUE would take both for one pipeline; beside that folder it is one of its own", dir, above, of.PackageName())
}

// writeTemplate copies a template to dir. It writes nothing where a file of the template is there already.
func writeTemplate(dir string, files fs.FS) (written []string, err error) {
	var taken []string
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		written = append(written, path)
		if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
			taken = append(taken, path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(taken) > 0 {
		return nil, usage("%s: there already: %s", dir, strings.Join(taken, ", "))
	}
	for _, path := range written {
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		target := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(target), 0o777); err != nil {
			return nil, err
		}
		if err := os.WriteFile(target, b, 0o666); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// compiled says what a new folder's pipeline lacks.
func compiled(dir string) error {
	p, err := pipelines.Load(dir, pipelines.Options{})
	if err == nil {
		_, err = pipelines.Compile(p)
	}
	return err
}

// nextStep says what to type next: what is missing where something is, else how to run it.
func nextStep(c *cobra.Command, dir string) error {
	if err := compiled(dir); err != nil {
		_, err = fmt.Fprintf(c.OutOrStdout(), "before it runs:\n%v\n", err)
		return err
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "next: hone run %s\n", word(dir))
	return err
}
