package schemas

import (
	"reflect"
	"strings"
	"sync"
)

// Shape is what a configuration looks like, read from its Go type: what walkers need to find edges, files and
// misspelt fields without knowing any kind.
type Shape struct {
	Fields  map[string]*Shape // of a struct, by JSON name; nil for anything else
	Elem    *Shape            // of a list or a map
	Map     bool              // any key, values like Elem
	List    bool
	Edges   []string // artifact kinds that an edge here may carry; nil where there is no edge
	File    bool     // a path of the user's, or a list of them
	Named   bool     // a file whose path is in the key beside its bytes
	Unkeyed bool     // no ingredient of the key
}

var shapes sync.Map // kind → *Shape

// ShapeOf is the shape of a kind's configuration, nil for a kind that does not exist. It is shared: do not change it.
func ShapeOf(kind string) *Shape {
	if s, ok := shapes.Load(kind); ok {
		return s.(*Shape)
	}
	k, ok := kinds[kind]
	if !ok {
		return nil
	}
	s, _ := shapes.LoadOrStore(kind, shapeOf(k.config, ""))
	return s.(*Shape)
}

var (
	edgeType = reflect.TypeFor[Edge]()
	refType  = reflect.TypeFor[Ref]()
)

func shapeOf(t reflect.Type, tag reflect.StructTag) *Shape {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	s := &Shape{
		File:    strings.HasPrefix(tag.Get("hone"), "file"),
		Named:   tag.Get("hone") == "file,named",
		Unkeyed: tag.Get("hone") == "unkeyed",
	}
	switch {
	case t == edgeType || t == refType:
		s.Edges = strings.Split(tag.Get("edge"), ",")
	case t == reflect.TypeFor[Targets]():
	case t.Kind() == reflect.Struct:
		s.Fields = map[string]*Shape{}
		s.addFields(t)
	case t.Kind() == reflect.Slice:
		s.List, s.Elem = true, shapeOf(t.Elem(), tag)
	case t.Kind() == reflect.Map && t.Elem().Kind() != reflect.Interface:
		s.Map, s.Elem = true, shapeOf(t.Elem(), tag)
	}
	return s
}

func (s *Shape) addFields(t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous {
			s.addFields(f.Type)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		s.Fields[name] = shapeOf(f.Type, f.Tag)
	}
}
