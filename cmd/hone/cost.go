package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/hone-ml/hone/internal/cost"
	"github.com/hone-ml/hone/internal/dataset"
	"github.com/hone-ml/hone/internal/memory"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/store"
	"github.com/hone-ml/hone/schemas"
)

// profiles is the folder of what hone doctor --bench has measured, beside the store's place in the user's cache.
func profiles() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no place for a profile: %w", err)
	}
	return filepath.Join(cache, "hone-machine"), nil
}

// machineHere is the machine at hand: as it was measured, else a guess.
func machineHere(device string, threads int) cost.Machine {
	sort, _, _ := strings.Cut(device, ":")
	guess := cost.Guess(sort, threads, memoryHere(sort))
	dir, err := profiles()
	if err != nil {
		return guess
	}
	m, ok, err := cost.ReadProfile(dir, sort, threads, hardware(sort))
	switch {
	case ok:
		return m
	case err != nil:
		guess.Said = err.Error()
	case sort == "cpu":
		if other, ok, _ := cost.ReadProfile(dir, "cuda", threads, hardware("cuda")); ok { // its surroundings are the same
			guess.Start, guess.Disk, guess.Hash = other.Start, other.Disk, other.Hash
		}
	}
	return guess
}

// memoryHere is the main memory; that of a device is known once it was measured.
func memoryHere(device string) int64 {
	if device != "cpu" {
		return 0
	}
	return memory.Limit()
}

// price is that of an hour by the environment, empty where there is none.
func price() (string, error) {
	said := os.Getenv("HONE_PRICE")
	if said == "" {
		return "", nil
	}
	if _, _, err := runner.ParsePrice(said); err != nil {
		return "", usage("HONE_PRICE: %w", err)
	}
	return said, nil
}

// fit is which stages will not have the memory that they take. Where there is no store, models that are not made yet have no shape.
func (f *flags) fit(g *pipelines.Graph) (errs, advice pipelines.Errors) {
	if !slices.ContainsFunc(g.Stages, func(s *pipelines.Stage) bool { return schemas.Computes(s.Kind) }) {
		return nil, nil
	}
	if st, err := f.openStore(); err == nil {
		if r, err := f.runnerOf(g, st, runner.Options{}); err == nil {
			return r.Fit()
		}
	}
	return nil, nil
}

// sampled is how many rows of a dataset are looked at, and counted how many bytes of a file are counted in rows: those of the rest follow.
const sampled, counted = 2000, 8 << 20

// sampleRows looks at rows of a dataset's folder, or of a data.load's source: how many there are, and how much text is in one.
func sampleRows(path string, source *schemas.DataLoad) (cost.Text, error) {
	if source == nil {
		d, err := dataset.Open(path)
		if err != nil {
			return cost.Text{}, err
		}
		defer d.Close()
		t := tally{header: &d.Header}
		for row, err := range d.All() {
			if err != nil {
				return cost.Text{}, err
			}
			if t.add(row); t.rows == sampled {
				break
			}
		}
		return t.text(float64(d.Rows)), nil
	}
	s := &dataset.Source{Path: path, Name: source.Source, Format: source.Format, Split: source.Split, Warn: func(string, ...any) {}}
	columns, err := s.Columns()
	if err != nil {
		return cost.Text{}, err
	}
	format, roles, err := dataset.Detect(columns, source.Columns)
	if err != nil {
		return cost.Text{}, err
	}
	t := tally{header: &dataset.Header{Format: format, Columns: roles}}
	rows, bytes := 0.0, 0.0 // bytes of all columns, as JSON
	for record, err := range s.Rows() {
		var bad *dataset.RowError
		if errors.As(err, &bad) { // data.load tells
			continue
		}
		if err != nil {
			return cost.Text{}, err
		}
		if rows++; t.rows < sampled {
			t.add(record.Row)
		}
		if bytes += float64(len(ordjson.Append(nil, record.Row))); bytes > counted { // about as many in the rest, byte for byte
			rows *= max(float64(s.Size())/bytes, 1)
			break
		}
	}
	return t.text(rows), nil
}

// tally adds up rows.
type tally struct {
	header               *dataset.Header
	rows                 int
	bytes, answer, turns float64
	pieces, said         float64
	longest              float64
	shared               string // what all rows begin with
	system               float64
}

func (t *tally) add(row dataset.Row) {
	begin, bytes, answer, turns := "", 0.0, 0.0, 0.0
	if messages, ok := t.header.Get(row, "messages").([]ordjson.Value); ok && len(messages) > 0 {
		if first, ok := messages[0].(*ordjson.Object); ok {
			if role, _ := first.Text("role"); role == "system" {
				t.system++
			}
		}
	}
	say := func(text string, answered bool) {
		if bytes == 0 {
			begin = text
		}
		n := float64(pieces(text))
		bytes, t.pieces = bytes+float64(len(text)), t.pieces+n
		if turns++; answered {
			answer, t.said = answer+float64(len(text)), t.said+n
		}
	}
	for _, role := range append(t.header.Format.Roles(), "tools") {
		t.value(t.header.Get(row, role), role == "completion" || role == "chosen" || role == "rejected", say)
	}
	if answered, ok := t.header.Get(row, "answer").(string); ok && answer == 0 && t.header.Format == dataset.Prompt { // what graders compare with
		n := float64(pieces(answered))
		bytes, answer = bytes+float64(len(answered)), float64(len(answered))
		t.pieces, t.said = t.pieces+n, t.said+n
	}
	if t.header.Format == dataset.Text {
		turns = 0
	}
	if t.rows++; t.rows == 1 {
		t.shared = begin
	}
	n := 0
	for n < len(t.shared) && n < len(begin) && t.shared[n] == begin[n] {
		n++
	}
	t.shared = t.shared[:n]
	t.bytes, t.answer, t.turns, t.longest = t.bytes+bytes, t.answer+answer, t.turns+turns, max(t.longest, bytes)
}

// pieces is what tokenizers take a text apart into before they look for tokens in each: a word or a run of marks with the space before
// it, a digit (few vocabularies have numbers of several), and other space.
func pieces(text string) (n int) {
	const space, word, mark = 1, 2, 3
	last := 0
	for i, r := range text {
		sort := mark
		switch {
		case unicode.IsLetter(r), unicode.IsMark(r):
			sort = word
		case unicode.IsSpace(r):
			sort = space
		case unicode.IsDigit(r):
			sort = 0 // none is like the one before it
		}
		joined := last == space && (sort == word || sort == mark) && text[i-1] == ' '
		if sort == 0 || sort != last && !joined {
			n++
		}
		last = sort
	}
	return n
}

// value says the texts of a column: a string, or messages, of which the assistant's are answers.
func (t *tally) value(v dataset.Value, answered bool, say func(string, bool)) {
	switch v := v.(type) {
	case string:
		say(v, answered)
	case []ordjson.Value:
		for _, m := range v {
			t.value(m, answered, say)
		}
	case *ordjson.Object:
		role, _ := v.Text("role")
		content, _ := v.Get("content")
		if text, ok := content.(string); ok {
			say(text, answered || role == "assistant")
		} else if content == nil { // a tool, or a call of one
			say(string(ordjson.Append(nil, v)), answered || role == "assistant")
		}
	}
}

func (t *tally) text(rows float64) cost.Text {
	n := max(float64(t.rows), 1)
	return cost.Text{
		Rows: rows, Bytes: t.bytes / n, Pieces: t.pieces / n, Said: t.said / n, Answer: t.answer / n, Turns: t.turns / n, Longest: t.longest, Shared: float64(len(t.shared)), System: t.system / n,
		Pairs: t.header.Format == dataset.Preference,
	}
}

// printCost says what a plan takes, in a line or two; nothing where nothing is to run.
func printCost(w io.Writer, c *runner.Cost) error {
	if c == nil || c.Basis == "" {
		return nil
	}
	said := "predicted: " + costSaid(c, "; ") + c.Basis
	_, err := fmt.Fprintln(w, wrapped(said, width(w)-2, "  "))
	return err
}

// costSaid is the figures of a cost that are known, with what follows them.
func costSaid(c *runner.Cost, end string) string {
	var parts []string
	if c.Seconds != nil {
		parts = append(parts, about(*c.Seconds)+spanned(c.Range))
	}
	if c.Memory != nil {
		parts = append(parts, sizeAbout(*c.Memory)+" of memory")
	}
	if c.Disk != nil && *c.Disk >= 100<<20 {
		parts = append(parts, sizeAbout(*c.Disk)+" of disk")
	}
	if c.Money != nil {
		parts = append(parts, fmt.Sprintf("%.2f %s", *c.Money, *c.Currency))
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + end
}

// spanned is a range in brackets; empty where there is none, or where it is too short to matter.
func spanned(r *runner.Range) string {
	if r == nil || r[1] < worthSaying {
		return ""
	}
	least, most := strings.TrimPrefix(about(r[0]), "about "), strings.TrimPrefix(about(r[1]), "about ")
	return fmt.Sprintf(" (%s to %s)", least, most)
}

// about is a time as exactly as it is known: two digits.
func about(seconds float64) string {
	switch {
	case seconds < 1:
		return "under 1s"
	case seconds < 59.5:
		return fmt.Sprintf("about %.0fs", seconds)
	case seconds < 595:
		tens := 10 * math.Round(seconds/10)
		if left := math.Mod(tens, 60); left > 0 {
			return fmt.Sprintf("about %.0fm%.0fs", math.Floor(tens/60), left)
		}
		return fmt.Sprintf("about %.0fm", tens/60)
	case seconds < 5400:
		return fmt.Sprintf("about %.0fm", seconds/60)
	case seconds < 100*3600:
		return fmt.Sprintf("about %.2gh", seconds/3600)
	}
	return fmt.Sprintf("about %.0f days", seconds/86400)
}

// sizeAbout is a size to two digits, which is all that is known of it.
func sizeAbout(n int64) string {
	value, unit, _ := strings.Cut(store.Size(n), " ")
	if v, err := strconv.ParseFloat(value, 64); err == nil && v >= 10 {
		step := math.Pow(10, math.Floor(math.Log10(v))-1)
		value = fmt.Sprintf("%.0f", math.Round(v/step)*step)
	}
	return value + " " + unit
}

// worthSaying is the seconds below which a stage's time is no reason to wait for anything.
const worthSaying = 3

// brevity is a stage's predicted time in its column; empty where it is short, or not known.
func brevity(s *runner.StagePlan) string {
	if s.Predicted == nil || *s.Predicted < worthSaying {
		return ""
	}
	return strings.Replace(about(*s.Predicted), "about ", "~", 1)
}
