package dataset

import (
	"reflect"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"github.com/hone-ml/hone/internal/ordjson"
)

// parquetSchema is the Parquet form of the columns: everything optional, lists in the three levels that the format
// prescribes, text and JSON as strings.
func (s *schema) parquetSchema() *parquet.Schema {
	return parquet.NewSchema("hone", groupOf(s.columns))
}

func groupOf(fields []*field) parquet.Node {
	g := orderedGroup{Group: parquet.Group{}}
	for _, f := range fields {
		n := f.node()
		g.Group[f.name] = n
		g.fields = append(g.fields, orderedField{n, f.name})
	}
	return g
}

func (p *place) node() parquet.Node {
	switch p.kind {
	case boolean:
		return parquet.Optional(parquet.Leaf(parquet.BooleanType))
	case integer:
		return parquet.Optional(parquet.Int(64))
	case float:
		return parquet.Optional(parquet.Leaf(parquet.DoubleType))
	case list:
		return parquet.Optional(parquet.List(p.elem.node()))
	case object:
		return parquet.Optional(groupOf(p.fields))
	default:
		return parquet.Optional(parquet.String())
	}
}

// orderedGroup is a group whose fields keep their order; the library's own sorts them by name.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g orderedGroup) Fields() []parquet.Field { return g.fields }

type orderedField struct {
	parquet.Node
	name string
}

func (f orderedField) Name() string { return f.name }

// Value is for rows that are Go structs. Rows here are made of values.
func (f orderedField) Value(reflect.Value) reflect.Value { panic("dataset: a row is no Go struct") }

// encoder turns rows into Parquet rows: for each leaf column its values with their levels (Dremel's encoding).
type encoder struct {
	schema  *schema
	columns [][]parquet.Value
	row     parquet.Row
}

func newEncoder(s *schema) *encoder {
	leaves := 0
	for _, c := range s.columns {
		leaves += c.leaves()
	}
	return &encoder{schema: s, columns: make([][]parquet.Value, leaves)}
}

func (p *place) leaves() int {
	switch p.kind {
	case list:
		return p.elem.leaves()
	case object:
		n := 0
		for _, f := range p.fields {
			n += f.leaves()
		}
		return n
	}
	return 1
}

// encode returns the Parquet row, which is good until the next call.
func (e *encoder) encode(row Row) parquet.Row {
	for i := range e.columns {
		e.columns[i] = e.columns[i][:0]
	}
	at := 0
	for _, c := range e.schema.columns {
		v, _ := row.Get(c.name)
		at = e.write(&c.place, v, 0, 0, 0, at)
	}
	e.row = e.row[:0]
	for _, values := range e.columns {
		e.row = append(e.row, values...)
	}
	return e.row
}

// write adds v at the repetition level rep to the leaves of p, which begin at the column at, and returns the column
// after them. Def is the definition level where v is null; depth counts the lists around it.
func (e *encoder) write(p *place, v Value, rep, def, depth, at int) int {
	if v == nil {
		return e.writeNull(p, rep, def, at)
	}
	switch p.kind {
	case list:
		elements := v.([]Value)
		if len(elements) == 0 {
			return e.writeNull(p, rep, def+1, at)
		}
		end := at
		for i, element := range elements {
			if i > 0 {
				rep = depth + 1
			}
			end = e.write(p.elem, element, rep, def+2, depth+1, at)
		}
		return end
	case object:
		o := v.(*ordjson.Object)
		for _, f := range p.fields {
			member, ok := o.Get(f.name)
			if ok && member == nil && f.kind == anything {
				e.put(parquet.ByteArrayValue([]byte("null")), rep, def+2, at)
				at++
				continue
			}
			at = e.write(&f.place, member, rep, def+1, depth, at)
		}
		return at
	default:
		e.put(leafValue(p.kind, v), rep, def+1, at)
		return at + 1
	}
}

func (e *encoder) writeNull(p *place, rep, def, at int) int {
	end := at + p.leaves()
	for ; at < end; at++ {
		e.put(parquet.NullValue(), rep, def, at)
	}
	return end
}

func (e *encoder) put(v parquet.Value, rep, def, column int) {
	e.columns[column] = append(e.columns[column], v.Level(rep, def, column))
}

func leafValue(k kind, v Value) parquet.Value {
	switch k {
	case boolean:
		return parquet.BooleanValue(v.(bool))
	case integer:
		i, err := strconv.ParseInt(string(v.(ordjson.Number)), 10, 64)
		if err != nil {
			panic(err) // the schema saw this value
		}
		return parquet.Int64Value(i)
	case float:
		f, err := strconv.ParseFloat(string(v.(ordjson.Number)), 64)
		if err != nil {
			panic(err)
		}
		return parquet.DoubleValue(f)
	case anything:
		return parquet.ByteArrayValue(ordjson.Append(nil, v))
	default:
		return parquet.ByteArrayValue([]byte(v.(string)))
	}
}
