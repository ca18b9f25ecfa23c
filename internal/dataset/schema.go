package dataset

import (
	"slices"
	"strconv"

	"github.com/hone-ml/hone/internal/ordjson"
)

// kind is the type of a place in a column.
type kind uint8

const (
	nothing kind = iota // only nulls so far
	boolean
	integer
	float
	text
	list
	object
	anything // values that no other kind holds exactly: JSON text
)

// Bounds on what becomes a Parquet type; beyond them a place is JSON text. Without them one row with a million keys
// would make a million columns.
const (
	maxFields = 200  // of an object
	maxPlaces = 5000 // of a dataset
	maxDepth  = 16   // lists and objects within each other
)

// place is the type of a column, of a list's elements or of an object's field, as the rows so far demand it.
type place struct {
	kind   kind
	exact  bool // within a role: 1 and 1.0 stay apart, since a template prints them
	absent bool // fields: some object lacks it
	null   bool // fields: some object has it as null
	wide   bool // some integer is beyond what a float64 holds
	elem   *place
	fields []*field
	index  map[string]int // into fields
	seen   int            // objects
}

// field is a named place of an object.
type field struct {
	name string
	place
}

// schema infers the types of columns from rows.
type schema struct {
	columns []*field
	index   map[string]int
	roles   map[string]bool // columns that play a role
	places  int
}

func newSchema(h *Header) *schema {
	s := &schema{index: map[string]int{}, roles: map[string]bool{}}
	for _, column := range h.Columns {
		s.roles[column] = true
	}
	return s
}

// column adds a column at the end where it is new.
func (s *schema) column(name string) *field {
	i, ok := s.index[name]
	if !ok {
		i = len(s.columns)
		s.index[name] = i
		s.columns = append(s.columns, &field{name: name, place: place{exact: s.roles[name]}})
		s.places++
	}
	return s.columns[i]
}

// add widens the types so that they hold the row.
func (s *schema) add(row Row) {
	for _, m := range row.Members() {
		s.merge(&s.column(m.Key).place, m.Value, 0)
	}
}

// merge widens p so that it holds v.
func (s *schema) merge(p *place, v Value, depth int) {
	if p.kind == anything || v == nil {
		return
	}
	k := kindOf(v)
	if k == integer && !exactFloat(v.(ordjson.Number)) {
		p.wide = true
	}
	switch {
	case depth > maxDepth:
		k = anything
	case p.kind == nothing || p.kind == k:
	case p.exact || p.wide || p.kind+k != integer+float:
		k = anything
	default:
		k = float
	}
	if k == float && p.wide {
		k = anything
	}
	p.kind = k
	switch k {
	case list:
		if p.elem == nil {
			p.elem = &place{exact: p.exact}
			s.places++
		}
		for _, e := range v.([]Value) {
			s.merge(p.elem, e, depth+1)
		}
	case object:
		s.mergeObject(p, v.(*ordjson.Object), depth)
	}
	if s.places > maxPlaces && (k == list || k == object) {
		p.kind = anything
	}
	if p.kind == anything {
		p.elem, p.fields, p.index = nil, nil, nil
	}
}

// mergeObject widens p so that it holds o: its fields in an order that every object so far has.
func (s *schema) mergeObject(p *place, o *ordjson.Object, depth int) {
	if o.Len() == 0 { // a Parquet struct has fields
		p.kind = anything
		return
	}
	at := 0 // where the next field belongs at the earliest
	members := o.Members()
	for k, m := range members {
		i, ok := p.index[m.Key]
		switch {
		case ok && i < at, m.Key == "":
			p.kind = anything
			return
		case !ok:
			if len(p.fields) >= maxFields {
				p.kind = anything
				return
			}
			i = p.before(members[k+1:])
			if i < at {
				p.kind = anything
				return
			}
			p.insert(i, &field{name: m.Key, place: place{exact: p.exact, absent: p.seen > 0}})
			s.places++
		}
		f := p.fields[i]
		if m.Value == nil {
			f.null = true
		}
		s.merge(&f.place, m.Value, depth+1)
		at = i + 1
	}
	p.seen++
	if o.Len() < len(p.fields) {
		for _, f := range p.fields {
			if _, ok := o.Get(f.name); !ok {
				f.absent = true
			}
		}
	}
	for _, f := range p.fields {
		if f.null && f.absent {
			f.place = place{kind: anything, exact: f.exact, absent: true}
		}
	}
}

// before returns where a new field goes that has these after it: as late as they allow, which leaves objects to come
// the most freedom.
func (p *place) before(rest []ordjson.Member) int {
	for _, m := range rest {
		if i, ok := p.index[m.Key]; ok {
			return i
		}
	}
	return len(p.fields)
}

func (p *place) insert(i int, f *field) {
	p.fields = slices.Insert(p.fields, i, f)
	p.index = make(map[string]int, len(p.fields))
	for i, f := range p.fields {
		p.index[f.name] = i
	}
}

func kindOf(v Value) kind {
	switch v := v.(type) {
	case bool:
		return boolean
	case string:
		return text
	case []Value:
		return list
	case *ordjson.Object:
		return object
	case ordjson.Number:
		if !ordjson.IsInt(v) {
			return float
		}
		if _, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return integer
		}
	}
	return anything
}

// exactFloat reports whether a float64 holds the integer n.
func exactFloat(n ordjson.Number) bool {
	i, err := strconv.ParseInt(string(n), 10, 64)
	return err == nil && i >= -1<<53 && i <= 1<<53
}

// special lists the places that a reader must treat otherwise than Parquet's types say.
func (s *schema) special() (json, nulls []string) {
	for _, c := range s.columns {
		c.special(c.name, &json, &nulls)
	}
	return json, nulls
}

func (p *place) special(path string, json, nulls *[]string) {
	switch p.kind {
	case anything:
		*json = append(*json, path)
	case list:
		p.elem.special(path+"[]", json, nulls)
	case object:
		for _, f := range p.fields {
			inner := path + "." + f.name
			if f.null && f.kind != anything {
				*nulls = append(*nulls, inner)
			}
			f.special(inner, json, nulls)
		}
	}
}
