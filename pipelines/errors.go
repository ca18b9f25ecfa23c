package pipelines

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"
)

// Error is one thing that is wrong with a pipeline: where the user wrote it, the field, and what.
type Error struct {
	Pos  token.Position // Filename is relative to the working folder where it lies below
	Path string         // stages.tune.learningRate; empty where there is no field
	Msg  string
	Get  string // the command that gets a missing file, run in the pipeline's folder
}

// Error is a line; the command that mends it stands below, a step a line, as a shell takes it.
func (e Error) Error() string {
	var b strings.Builder
	for _, part := range []string{e.Place(), e.Path} {
		if part != "" {
			b.WriteString(part + ": ")
		}
	}
	b.WriteString(e.Msg)
	if e.Get != "" {
		b.WriteString("\n  in the pipeline's folder this gets it:\n    " + strings.ReplaceAll(e.Get, " && ", " &&\n    "))
	}
	return b.String()
}

// Message is what is wrong and the command that mends it, in one line.
func (e Error) Message() string {
	if e.Get == "" {
		return e.Msg
	}
	return e.Msg + "; in the pipeline's folder this gets it: " + e.Get
}

// Place is file:line:col, or less where less is known.
func (e Error) Place() string {
	if !e.Pos.IsValid() {
		return e.Pos.Filename
	}
	return fmt.Sprintf("%s:%d:%d", e.Pos.Filename, e.Pos.Line, e.Pos.Column)
}

// Errors is all that is wrong with a pipeline (exit code 3), by position.
type Errors []Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// UsageError is a PATH that does not name exactly one pipeline (exit code 2).
type UsageError struct{ Msg string }

func (e *UsageError) Error() string { return e.Msg }

// NoPipelineError is a pattern that no pipeline matches.
type NoPipelineError struct{ UsageError }

func (e *NoPipelineError) Unwrap() error { return &e.UsageError }

// noTagError is a tag that a package does not have.
type noTagError struct {
	UsageError
	tag string
}

func (e *noTagError) Unwrap() error { return &e.UsageError }

func usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// sorted orders errors by place and drops repetitions, those of one line that many stages share too; nil when there are none.
func (es Errors) sorted() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(
			cmp.Compare(a.Pos.Filename, b.Pos.Filename), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Pos.Column, b.Pos.Column), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Msg, b.Msg))
	})
	return slices.Compact(es).once()
}

// once tells what is wrong at one place with the same field of several stages of the first of them, and how many more there are.
func (es Errors) once() Errors {
	count := map[Error]int{}
	said := func(e Error) Error { // of whichever stage
		if stage, ok := strings.CutPrefix(e.Path, "stages."); ok && e.Pos.IsValid() {
			_, e.Path, _ = strings.Cut(stage, ".")
		}
		return e
	}
	all := slices.DeleteFunc(slices.Clone(es), func(e Error) bool { count[said(e)]++; return count[said(e)] > 1 })
	for i, e := range all {
		switch n := count[said(e)] - 1; {
		case n == 1:
			all[i].Msg += "; so in another stage"
		case n > 1:
			all[i].Msg += fmt.Sprintf("; so in %d other stages", n)
		}
	}
	return all
}

// shownPath is a path as a user reads it: relative to the working folder where it lies below that.
func shownPath(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
