package dataset

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-ml/hone/internal/ordjson"
)

// Delta is how many rows of two datasets differ. Rows are compared as multisets: order means nothing, and a row that stands
// there twice counts twice.
type Delta struct {
	Before  int64 `json:"before"` // rows
	After   int64 `json:"after"`
	Added   int64 `json:"added"`
	Removed int64 `json:"removed"`
	Changed int64 `json:"changed"` // the same identity with other contents

	By             string   `json:"by,omitempty"` // the identity: a column's name, or prompt; none of plain text
	ColumnsAdded   []string `json:"columns_added,omitempty"`
	ColumnsRemoved []string `json:"columns_removed,omitempty"`
	Reordered      bool     `json:"reordered,omitempty"` // the same rows, in another order
}

// Side is the rows on one side: an artifact's, or a source's as data.load reads them.
type Side struct {
	Header
	Names []string // of the columns that are known beforehand
	All   iter.Seq2[Row, error]
}

// Side is the rows of an artifact, to be compared.
func (d *Dataset) Side() Side { return Side{d.Header, d.Names(), d.All()} }

// mostCompared is how many rows a side may have: each takes 16 bytes.
var mostCompared = 5_000_000

// maxNames is how many columns are told apart.
const maxNames = 10_000

// identities are names of columns that tell rows apart. Numbers of rows (idx, index) are none: a row put in front changes them all.
var identities = []string{"id", "_id", "uuid", "uid", "guid"}

// Compare counts the rows that differ. It holds two hashes of each row in memory and no row; ctx bounds its time.
func Compare(ctx context.Context, before, after Side) (*Delta, error) {
	seed := maphash.MakeSeed()
	column := ""
	for _, name := range identities {
		if column == "" && hasName(before.Names, name) && hasName(after.Names, name) {
			column = name
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	a, b := make(chan *hashedRows, 1), make(chan *hashedRows, 1)
	read := func(side Side, to chan<- *hashedRows) {
		rows, err := side.hashed(ctx, seed, column)
		if err != nil {
			stop(err) // the other side's too
		}
		to <- rows
	}
	go read(before, a)
	go read(after, b)
	old, now := <-a, <-b
	if old == nil || now == nil {
		return nil, context.Cause(ctx)
	}
	d := &Delta{Before: int64(len(old.rows)), After: int64(len(now.rows)), By: column}
	if d.By == "" && before.Format != Text && after.Format != Text {
		d.By = "prompt"
	}
	d.ColumnsAdded, d.ColumnsRemoved = without(now.names, old.names), without(old.names, now.names)
	d.count(old.rows, now.rows)
	d.Reordered = d.Added+d.Removed+d.Changed == 0 && old.order != now.order
	return d, nil
}

// hashedRow is a row's identity and its contents. The seed is drawn anew in each comparison; of ten million rows two share a
// hash once in a hundred thousand comparisons.
type hashedRow struct{ id, content uint64 }

type hashedRows struct {
	rows  []hashedRow
	names map[string]bool // of columns that some row has a value in
	order uint64          // differs where the order of the rows does
}

func (r *Side) hashed(ctx context.Context, seed maphash.Seed, column string) (*hashedRows, error) {
	const every = 256
	h := &hashedRows{names: map[string]bool{}}
	var buf []byte
	for row, err := range r.All {
		if err != nil {
			return nil, err
		}
		if len(h.rows)%every == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(h.rows) == mostCompared {
			return nil, fmt.Errorf("more than %d rows", mostCompared)
		}
		members := slices.DeleteFunc(slices.Clone(row.Members()), func(m ordjson.Member) bool { return m.Value == nil })
		for _, m := range members {
			if !h.names[m.Key] && len(h.names) < maxNames {
				h.names[m.Key] = true
			}
		}
		slices.SortFunc(members, func(a, b ordjson.Member) int { return strings.Compare(a.Key, b.Key) })
		buf = appendPlain(buf[:0], ordjson.New(members...))
		one := hashedRow{content: maphash.Bytes(seed, buf)}
		one.id = one.content
		if id := r.identity(row, column); id != nil {
			buf = appendPlain(buf[:0], id)
			one.id = maphash.Bytes(seed, buf)
		}
		h.rows = append(h.rows, one)
		h.order = h.order*1099511628211 + one.content
	}
	return h, nil
}

// identity is what a row keeps when it is edited: its id, else what the user says first; nil where it is the whole row.
func (r *Side) identity(row Row, column string) Value {
	if column != "" {
		for _, m := range row.Members() {
			if strings.EqualFold(m.Key, column) && m.Value != nil {
				return m.Value
			}
		}
	}
	switch r.Format {
	case Text:
		return nil
	case Messages:
		if turns := userTurns(r.Get(row, "messages")); len(turns) > 0 {
			return turns[0]
		}
		return nil
	}
	prompt := r.Get(row, "prompt")
	if turns := userTurns(prompt); len(turns) > 0 { // a system prompt that is set anew is no other question
		if len(turns) == 1 {
			return turns[0]
		}
		return turns
	}
	return prompt
}

// userTurns is the contents of the user's turns in a list of messages.
func userTurns(v Value) (turns []Value) {
	list, _ := v.([]Value)
	for _, turn := range list {
		if m, ok := turn.(*ordjson.Object); ok {
			if role, _ := m.Text("role"); role == "user" {
				content, _ := m.Get("content")
				turns = append(turns, content)
			}
		}
	}
	return turns
}

// count matches rows: those of equal contents are the same; of the rest, as many as share an identity are changed.
func (d *Delta) count(a, b []hashedRow) {
	order := func(x, y hashedRow) int { return cmp.Or(cmp.Compare(x.id, y.id), cmp.Compare(x.content, y.content)) }
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	for len(a) > 0 || len(b) > 0 {
		var id uint64
		if len(b) == 0 || len(a) > 0 && a[0].id <= b[0].id {
			id = a[0].id
		} else {
			id = b[0].id
		}
		var removed, added int64
		for len(a) > 0 && a[0].id == id || len(b) > 0 && b[0].id == id {
			left, right := len(a) > 0 && a[0].id == id, len(b) > 0 && b[0].id == id
			switch {
			case left && right && a[0].content == b[0].content:
				a, b = a[1:], b[1:]
			case left && (!right || a[0].content < b[0].content):
				a = a[1:]
				removed++
			default:
				b = b[1:]
				added++
			}
		}
		changed := min(removed, added)
		d.Changed += changed
		d.Removed += removed - changed
		d.Added += added - changed
	}
}

// appendPlain is a value as text in which equal values are equal, however a format spells them: 1 and 1.0 are one, and so are a field
// that is null and one that is not there.
func appendPlain(b []byte, v Value) []byte {
	switch v := v.(type) {
	case ordjson.Number:
		if f, err := strconv.ParseFloat(string(v), 64); err == nil && (!ordjson.IsInt(v) || exactFloat(v)) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
		return append(b, v...)
	case []Value:
		b = append(b, '[')
		for _, e := range v {
			b = append(appendPlain(b, e), ',')
		}
		return append(b, ']')
	case *ordjson.Object:
		b = append(b, '{')
		for _, m := range v.Members() {
			if m.Value != nil {
				b = append(appendPlain(append(ordjson.Append(b, m.Key), ':'), m.Value), ',')
			}
		}
		return append(b, '}')
	}
	return ordjson.Append(b, v)
}

func hasName(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// without is the names in a that b lacks, sorted.
func without(a, b map[string]bool) (names []string) {
	for name := range a {
		if !b[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
