package pipelines

import (
	"fmt"
	"slices"
	"strings"
)

// oneOf is a struct of which exactly one field, or at most one, may be set. The schemas say so too; here it is said so
// that a user reads which fields are meant.
type oneOf struct {
	within string // "" is the stage, "suites" each of a map's values, "steps" each of a list's
	fields []string
	none   bool // none of them is right too
}

var grading = []string{"exact", "contains", "regex", "number", "jsonSchema", "sql", "cel", "exec"}

var oneOfs = map[string][]oneOf{
	"model.load":    {{fields: []string{"source", "config"}}},
	"template.set":  {{fields: []string{"template", "file", "family"}, none: true}},
	"curate.filter": {{within: "steps", fields: []string{"length", "regex", "exact"}}},
	"curate.reject": {{within: "graders", fields: grading}},
	"train.grpo":    {{within: "rewards", fields: grading}},
	"eval":          {{within: "suites", fields: append([]string{"perplexity"}, grading...)}},
}

// requireShape tells where one field of several is wanted and none or two stand.
func (c *compiler) requireShape(s *stage) {
	for _, rule := range oneOfs[s.kind] {
		shape := s.shape
		if rule.within != "" {
			shape = s.shape.Fields[rule.within]
		}
		switch within := at(s.tree, rule.within).(type) {
		case map[string]any:
			if rule.within == "" {
				c.requireOne(s, "", within, rule)
				continue
			}
			if shape.List {
				continue // it is to be one: told by conform
			}
			for _, name := range names(within) {
				if fields, ok := within[name].(map[string]any); ok {
					c.requireOne(s, rule.within+"."+name, fields, rule)
				}
			}
		case []any:
			for i := range within {
				if fields, ok := within[i].(map[string]any); ok {
					c.requireOne(s, fmt.Sprintf("%s[%d]", rule.within, i), fields, rule)
				}
			}
		}
	}
}

func (c *compiler) requireOne(s *stage, path string, fields map[string]any, rule oneOf) {
	var set []string
	for _, name := range rule.fields {
		if _, ok := fields[name]; ok {
			set = append(set, name)
		}
	}
	choice := strings.Join(rule.fields, ", ")
	switch {
	case len(set) > 1:
		c.choosing[s.path(path)] = true
		c.errorf(s, path, "%s together: only one of %s", strings.Join(set, " and "), choice)
	case len(set) == 0 && !rule.none && !c.told(s, path) && !c.toldBelow(s, path):
		c.choosing[s.path(path)] = true
		if label := path[strings.LastIndexByte(path, '.')+1:]; slices.Contains(rule.fields, label) {
			choice += fmt.Sprintf("; %s stands where a name of yours does: write NAME: %s: {…}", label, label)
		}
		c.errorf(s, path, "missing one of %s", choice)
	}
}

// isChoice says whether a field is one of several: it is never missing by itself.
func isChoice(kind, path string) bool {
	label := path[strings.LastIndexByte(path, '.')+1:]
	return slices.ContainsFunc(oneOfs[kind], func(rule oneOf) bool { return slices.Contains(rule.fields, label) })
}

// toldBelow says whether something has been said about a field below path, such as a misspelt one.
func (c *compiler) toldBelow(s *stage, path string) bool {
	own := s.path(path) + "."
	for _, e := range c.errs {
		if strings.HasPrefix(e.Path, own) && !strings.Contains(e.Path[len(own):], ".") {
			return true
		}
	}
	return false
}
