package pipelines

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/token"

	"github.com/hone-ml/hone/schemas"
)

// at walks a path (suites.sql.data, steps[0].length) down a decoded JSON tree; nil where there is nothing.
func at(tree any, path string) any {
	for path != "" && tree != nil {
		var step string
		end := strings.IndexAny(path, ".[")
		switch {
		case path[0] == '[':
			end = strings.IndexByte(path, ']') + 1
			i, err := strconv.Atoi(path[1 : end-1])
			list, ok := tree.([]any)
			if err != nil || !ok || i >= len(list) {
				return nil
			}
			tree, path = list[i], strings.TrimPrefix(path[end:], ".")
			continue
		case end < 0:
			step, path = path, ""
		default:
			step, path = path[:end], strings.TrimPrefix(path[end:], ".")
		}
		fields, ok := tree.(map[string]any)
		if !ok {
			return nil
		}
		tree = fields[step]
	}
	return tree
}

// remove takes the field at a path out of a tree; false where there is none, or it is an item of a list.
func remove(tree any, path string) bool {
	dot := strings.LastIndexByte(path, '.')
	parent, ok := at(tree, path[:max(dot, 0)]).(map[string]any)
	if _, there := parent[path[dot+1:]]; !ok || !there {
		return false
	}
	delete(parent, path[dot+1:])
	return true
}

// leaves lists a configuration's leaves with their places: a default has its stage's.
func (s *stage) leaves(config json.RawMessage) []Field {
	var tree any
	if err := json.Unmarshal(config, &tree); err != nil {
		panic(err) // it was encoded just now
	}
	var fields []Field
	var walk func(path string, v any, shape *schemas.Shape)
	walk = func(path string, v any, shape *schemas.Shape) {
		if shape == nil {
			shape = &schemas.Shape{}
		}
		switch v := v.(type) {
		case map[string]any:
			if shape.Edges != nil {
				break
			}
			for name, child := range v {
				sub := name
				if path != "" {
					sub = path + "." + name
				}
				if shape.Fields != nil {
					walk(sub, child, shape.Fields[name])
				} else {
					walk(sub, child, shape.Elem)
				}
			}
			if len(v) > 0 || path == "" {
				return
			}
		case []any:
			for i, child := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), child, shape.Elem)
			}
			if len(v) > 0 {
				return
			}
		}
		if edge, ok := v.(map[string]any); ok && shape.Edges != nil {
			v = fmt.Sprintf("%v.%v", edge["from"], edge["port"])
		}
		_, explicit := s.where[path]
		fields = append(fields, Field{Path: path, Value: v, Explicit: explicit, Pos: s.at(path)})
	}
	walk("", tree, s.shape)
	slices.SortFunc(fields, func(a, b Field) int { return cmp.Compare(a.Path, b.Path) })
	return fields
}

// resources reads what the scheduler reserves and what predictions are for. The schema has checked it.
func (s *stage) resources() Resources {
	tree := s.tree["resources"]
	number := func(path string) int64 {
		n, _ := at(tree, path).(json.Number)
		i, _ := n.Int64()
		return i
	}
	r := Resources{CPUs: int(number("cpus")), Memory: number("memory"), Threads: int(number("threads")), Pos: map[string]token.Position{}}
	r.Device, _ = at(tree, "device").(string)
	r.Price, _ = at(tree, "price").(string)
	switch m := at(tree, "machine").(type) {
	case string:
		r.Machine = &Machine{Name: m}
	case map[string]any:
		rate := func(field string) float64 {
			n, _ := m[field].(json.Number)
			f, _ := n.Float64()
			return f
		}
		r.Machine = &Machine{Memory: number("machine.memory"), Float32: rate("float32"), BFloat16: rate("bfloat16"), Bandwidth: rate("bandwidth")}
		r.Machine.Device, _ = m["device"].(string)
	}
	for _, field := range []string{"memory", "machine"} {
		if pos, ok := s.where["resources."+field]; ok {
			r.Pos[field] = pos
		}
	}
	return r
}

// said is a machine as the user wrote it; nil where there is none.
func (m *Machine) said() any {
	switch {
	case m == nil:
		return nil
	case m.Name != "":
		return m.Name
	}
	return *m
}

func (n *Stage) sort() {
	slices.SortFunc(n.Inputs, func(a, b Input) int { return cmp.Compare(a.Field, b.Field) })
	slices.SortFunc(n.Sources, func(a, b Source) int { return cmp.Compare(a.Field, b.Field) })
	slices.SortFunc(n.Outputs, func(a, b Output) int { return cmp.Compare(a.Port, b.Port) })
}
