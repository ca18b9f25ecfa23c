package pipelines

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var hubName = regexp.MustCompile(`^hf://[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?(@[A-Za-z0-9][A-Za-z0-9._/-]*)?$`)

// leaves says whether a path relative to the pipeline leads out of the folder that it is to stay within.
func (p *Pipeline) leaves(written string) bool {
	if p.opts.Within == "" || filepath.IsAbs(written) {
		return false
	}
	rel, err := filepath.Rel(p.opts.Within, filepath.Join(p.Dir, written))
	return err != nil || !filepath.IsLocal(rel)
}

// resolveSources finds the files, folders and hub names that a stage's fields name.
func (c *compiler) resolveSources(s *stage) {
	for i := range s.files {
		f := &s.files[i]
		if strings.ContainsRune(f.Written, 0) {
			continue // no path; the schemas say so
		}
		if strings.HasPrefix(f.Written, "hf://") {
			switch {
			case s.kind != "model.load" || f.Field != "source":
				c.errorf(s, f.Field, "%s: the hub is read by the source of model.load alone; download it and name the copy here", f.Written)
			case !hubName.MatchString(f.Written):
				c.errorf(s, f.Field, "%q is no hub name: hf://org/name or hf://org/name@revision", f.Written)
			}
			f.Hub = f.Written
			continue
		}
		if f.Named && !filepath.IsLocal(f.Written) {
			c.errorf(s, f.Field, "%q does not lie below the pipeline's folder", f.Written)
			continue
		}
		f.Path = f.Written
		if !filepath.IsAbs(f.Path) {
			f.Path = filepath.Join(c.p.Dir, f.Path)
		}
		if c.p.leaves(f.Written) { // what lies there is another's
			f.Absent = true
		} else if _, err := os.Stat(f.Path); err != nil && c.p.opts.Absent {
			f.Absent = true
		} else if err != nil {
			hint := ""
			if s.kind == "model.load" && filepath.Ext(f.Written) != ".gguf" && !filepath.IsAbs(f.Written) && hubName.MatchString("hf://"+f.Written) && strings.Count(f.Written, "/") == 1 && f.Get == "" {
				hint = "; a model of the hub is written hf://" + f.Written
			}
			reason := "no such file or folder"
			if !os.IsNotExist(err) {
				reason = err.Error()
			}
			e := s.problem(f.Field, "%s: %s%s", f.Written, reason, hint)
			e.Get = f.Get
			c.errs = append(c.errs, e)
		}
	}
}
