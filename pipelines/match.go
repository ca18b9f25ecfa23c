package pipelines

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue/token"
)

// What is compared at most to find stages of other names: pairs of one kind, and the steps of the exact method, above which the
// nearest are taken first.
const (
	mostPairs = 1 << 22
	mostSteps = 1 << 26
	rounds    = 4
)

// match finds the stages of before in after: by name, and then those of other names, which were renamed. Of these first the ones
// that differ in nothing, then the pairing with the fewest differing fields in all. Stages that share less than they differ in
// are no pair, nor are two of a sweep that differ in what is swept: with other values it has other stages. It gives the name
// before by the name after.
func match(before, after *Graph, content func(Source) string) map[string]string {
	m := &matcher{was: map[string]string{}, kept: map[string]bool{}, content: content, ids: map[string]int{}}
	now := byName(after)
	for _, s := range before.Stages {
		if n := now[s.Name]; n != nil && n.Kind == s.Kind {
			m.was[s.Name], m.kept[s.Name] = s.Name, true
		}
	}
	if len(m.was) == len(before.Stages) || len(m.was) == len(after.Stages) {
		return m.was
	}
	m.before, m.after = m.shapes(before), m.shapes(after)
	m.same(true)
	m.same(false)
	for range rounds { // what stages read may itself have been renamed
		more := m.nearest()
		if maps.Equal(more, m.guess) {
			break
		}
		m.guess = more
	}
	olds := map[string]*shape{}
	for _, o := range m.before {
		olds[o.Name] = o
	}
	for _, n := range m.after { // what it reads comes before it
		was, ok := m.guess[n.Name]
		if !ok {
			continue
		}
		if _, fits := m.gain(olds[was], n, true); fits {
			m.was[n.Name], m.kept[was] = was, true
		} else {
			delete(m.guess, n.Name)
		}
	}
	return m.was
}

type matcher struct {
	before, after []*shape
	was           map[string]string // by the name after
	kept          map[string]bool   // names before that are in it
	guess         map[string]string // was of the rest, as of the last round; nil before the first
	content       func(Source) string
	ids           map[string]int
}

// shape is a stage as it is compared.
type shape struct {
	*Stage
	traits  []trait // by path
	readers []string
	swept   map[string]bool // fields in which the stages differ that one place in the source makes
}

// trait is a field. An edge is its port, and the stage that it leads to.
type trait struct {
	path  string
	value int
	from  string
}

func byName(g *Graph) map[string]*Stage {
	all := make(map[string]*Stage, len(g.Stages))
	for _, s := range g.Stages {
		all[s.Name] = s
	}
	return all
}

func (m *matcher) id(text string) int {
	id, ok := m.ids[text]
	if !ok {
		id = len(m.ids)
		m.ids[text] = id
	}
	return id
}

func (m *matcher) shapes(g *Graph) []*shape {
	all := make([]*shape, len(g.Stages))
	at := map[string]*shape{}
	type place struct {
		token.Position
		kind     string
		internal bool // an eval and its baseline are no sweep
	}
	made := map[place][]*shape{}
	for i, s := range g.Stages {
		sh := &shape{Stage: s, swept: map[string]bool{}}
		for _, f := range s.Fields {
			t := trait{path: f.Path}
			from, port, isEdge := edgeParts(s, f.Path, f.Value)
			if isEdge {
				t.from, t.value = from, m.id("port "+port)
			} else {
				t.value = m.id(m.said(s, f))
			}
			sh.traits = append(sh.traits, t)
		}
		for _, in := range s.Inputs {
			if from := at[in.Edge.From]; from != nil {
				from.readers = append(from.readers, s.Name)
			}
		}
		all[i], at[s.Name] = sh, sh
		if s.Pos.IsValid() {
			key := place{s.Pos, s.Kind, s.Internal}
			made[key] = append(made[key], sh)
		}
	}
	for _, group := range made {
		swept := map[string]bool{}
		for _, sh := range group[1:] {
			walk(group[0], sh, func(a, b *trait) {
				if a == nil || b == nil || *a != *b {
					swept[cmp.Or(a, b).path] = true
				}
			})
		}
		for _, sh := range group {
			sh.swept = swept
		}
	}
	return all
}

// said is a field's value: of a file its bytes, where they are known.
func (m *matcher) said(s *Stage, f Field) string {
	if src := s.source(f.Path); src != nil && src.Hub == "" {
		if hash := m.content(*src); hash != "" {
			return "hash " + hash
		}
	}
	b, err := json.Marshal(f.Value)
	if err != nil {
		return fmt.Sprint(f.Value)
	}
	return string(b)
}

// walk goes through the fields of two stages; one is nil of a field that the other alone has.
func walk(a, b *shape, see func(a, b *trait)) {
	x, y := a.traits, b.traits
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].path < y[0].path:
			see(&x[0], nil)
			x = x[1:]
		case len(x) == 0 || y[0].path < x[0].path:
			see(nil, &y[0])
			y = y[1:]
		default:
			see(&x[0], &y[0])
			x, y = x[1:], y[1:]
		}
	}
}

// same pairs stages that differ in nothing but their names, what they read being the same too, and where read is set what reads them.
func (m *matcher) same(read bool) {
	key := func(sh *shape, was func(string) string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %v", sh.Kind, sh.Internal)
		for _, t := range sh.traits {
			fmt.Fprintf(&b, "\x00%s\x00%d", t.path, t.value)
			if t.from != "" {
				b.WriteString("\x00" + was(t.from))
			}
		}
		if read {
			var readers []string
			for _, name := range sh.readers {
				readers = append(readers, was(name))
			}
			slices.Sort(readers)
			fmt.Fprintf(&b, "\x00%q", readers)
		}
		return b.String()
	}
	rest := map[string][]string{}
	for _, o := range m.before {
		if !m.kept[o.Name] {
			k := key(o, func(name string) string { return name })
			rest[k] = append(rest[k], o.Name)
		}
	}
	for _, n := range m.after { // what it reads comes before it
		if _, known := m.was[n.Name]; known {
			continue
		}
		k := key(n, func(name string) string {
			if was, ok := m.was[name]; ok {
				return was
			}
			return "\x00" // none of before
		})
		if found := rest[k]; len(found) > 0 {
			m.was[n.Name], m.kept[found[0]] = found[0], true
			rest[k] = found[1:]
		}
	}
}

// nearest is the pairing of what is left that has the fewest differing fields in all, kind by kind.
func (m *matcher) nearest() map[string]string {
	type kind struct {
		name     string
		internal bool
	}
	olds, news := map[kind][]*shape{}, map[kind][]*shape{}
	for _, o := range m.before {
		if !m.kept[o.Name] {
			olds[kind{o.Kind, o.Internal}] = append(olds[kind{o.Kind, o.Internal}], o)
		}
	}
	for _, n := range m.after {
		if _, known := m.was[n.Name]; !known {
			news[kind{n.Kind, n.Internal}] = append(news[kind{n.Kind, n.Internal}], n)
		}
	}
	pairs := map[string]string{}
	for k, rows := range news {
		columns := olds[k]
		if len(columns) == 0 || len(rows)*len(columns) > mostPairs {
			continue
		}
		gains := make([][]int, len(rows))
		for i, n := range rows {
			gains[i] = make([]int, len(columns))
			for j, o := range columns {
				if gain, fits := m.gain(o, n, m.guess != nil); fits {
					gains[i][j] = gain
				}
			}
		}
		for i, j := range assign(gains) {
			if j >= 0 && gains[i][j] > 0 {
				pairs[rows[i].Name] = columns[j].Name
			}
		}
	}
	return pairs
}

// gain is how much less there is to say of two stages as one than as one that is gone and one that is new, in sixteenths of a field:
// the fields that they share, and a little for each stage that reads both. It says whether they may be one, whatever their gates: a gate
// judges what is there, and one that was loosened must not pass for another. Strictly, what an edge leads to must be the same; else it may
// be what is in no pair yet.
func (m *matcher) gain(o, n *shape, strictly bool) (gain int, fits bool) {
	shared, differ, fits, gates := 0, 0, true, 0
	walk(o, n, func(a, b *trait) {
		path := cmp.Or(a, b).path
		if strings.HasPrefix(path, "gate.") {
			if a != nil && b != nil && *a == *b {
				gates = 1
			}
			return
		}
		if a != nil && b != nil && a.value == b.value && (a.from == "") == (b.from == "") && (a.from == "" || m.corresponds(a.from, b.from, strictly)) {
			shared++
			return
		}
		differ++
		fits = fits && !o.swept[path] && !n.swept[path]
	})
	readers := 0
	for _, name := range n.readers[:min(len(n.readers), 16)] {
		if was := m.wasOf(name); was != "" && slices.Contains(o.readers, was) && readers < 14 {
			readers++
		}
	}
	return 16*shared + readers + gates + 1, fits && differ <= shared
}

func (m *matcher) corresponds(before, after string, strictly bool) bool {
	if was := m.wasOf(after); was != "" || strictly {
		return was == before
	}
	return !m.kept[before]
}

// wasOf is the name before, as far as it is known or guessed.
func (m *matcher) wasOf(name string) string { return cmp.Or(m.was[name], m.guess[name]) }

// assign is the column of each row, or -1, so that the gains have the greatest sum; of too many rows and columns the greatest first.
func assign(gains [][]int) []int {
	rows, columns := len(gains), len(gains[0])
	if least := min(rows, columns); least*least*max(rows, columns) > mostSteps {
		return greedy(gains)
	}
	if rows > columns {
		turned := make([][]int, columns)
		for j := range turned {
			turned[j] = make([]int, rows)
			for i := range gains {
				turned[j][i] = gains[i][j]
			}
		}
		of := slices.Repeat([]int{-1}, rows)
		for j, i := range assign(turned) {
			of[i] = j
		}
		return of
	}
	// The Hungarian method: a row at a time, by the cheapest path that changes the pairs so far; u and v are the dual variables.
	// Rows and columns count from 1.
	u, v, row := make([]int, rows+1), make([]int, columns+1), make([]int, columns+1)
	for i := 1; i <= rows; i++ {
		row[0] = i
		const far = 1 << 60
		least, from, seen := slices.Repeat([]int{far}, columns+1), make([]int, columns+1), make([]bool, columns+1)
		at := 0
		for row[at] != 0 {
			seen[at] = true
			next, delta := 0, far
			for j := 1; j <= columns; j++ {
				if seen[j] {
					continue
				}
				if c := -gains[row[at]-1][j-1] - u[row[at]] - v[j]; c < least[j] {
					least[j], from[j] = c, at
				}
				if least[j] < delta {
					next, delta = j, least[j]
				}
			}
			for j := range seen {
				if seen[j] {
					u[row[j]] += delta
					v[j] -= delta
				} else {
					least[j] -= delta
				}
			}
			at = next
		}
		for at != 0 {
			row[at] = row[from[at]]
			at = from[at]
		}
	}
	of := make([]int, rows)
	for j, i := range row[1:] {
		if i > 0 {
			of[i-1] = j
		}
	}
	return of
}

func greedy(gains [][]int) []int {
	var cells [][2]int
	for i := range gains {
		for j := range gains[i] {
			if gains[i][j] > 0 {
				cells = append(cells, [2]int{i, j})
			}
		}
	}
	slices.SortStableFunc(cells, func(a, b [2]int) int { return cmp.Compare(gains[b[0]][b[1]], gains[a[0]][a[1]]) })
	of, taken := slices.Repeat([]int{-1}, len(gains)), make([]bool, len(gains[0]))
	for _, c := range cells {
		if of[c[0]] < 0 && !taken[c[1]] {
			of[c[0]], taken[c[1]] = c[1], true
		}
	}
	return of
}
