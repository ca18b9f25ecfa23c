package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/hone-ml/hone/internal/ordjson"
)

// maxHeader is the reference implementation's bound on the JSON, in bytes.
const maxHeader = 100_000_000

// Checkpoint is the tensors of a model. Their Data are views of mapped files, read-only, valid until Close.
type Checkpoint struct {
	Metadata map[string]string // of the first file
	Files    []string          // paths, in the order of the shards' names

	tensors []Tensor // by name
	index   map[string]int
	maps    [][]byte
}

// Tensors returns all tensors by name, in byte order. The slice is the checkpoint's own.
func (c *Checkpoint) Tensors() []Tensor { return c.tensors }

// Tensor returns the tensor of that name.
func (c *Checkpoint) Tensor(name string) (Tensor, bool) {
	i, ok := c.index[name]
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// Close unmaps the files. Data of the tensors must not be touched afterwards.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, m := range c.maps {
		errs = append(errs, unix.Munmap(m))
	}
	c.maps, c.tensors, c.index = nil, nil, nil
	return errors.Join(errs...)
}

// Open maps one file. Errors name the file and the tensor.
func Open(path string) (*Checkpoint, error) {
	c := &Checkpoint{}
	if err := c.add(path); err != nil {
		c.Close()
		return nil, err
	}
	return c, c.finish()
}

// OpenDir maps the weights of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json names. Every shard must be there and hold what the index says it holds.
func OpenDir(dir string) (*Checkpoint, error) {
	single, index := filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "model.safetensors.index.json")
	if _, err := os.Stat(single); err == nil {
		return Open(single)
	}
	m, err := ReadIndex(index)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: no model.safetensors and no model.safetensors.index.json", dir)
	}
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{}
	var errs []error
	for _, shard := range m.Shards() {
		if err := c.add(filepath.Join(dir, shard)); errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s: shard is missing, named by %s", filepath.Join(dir, shard), filepath.Base(index)))
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		c.Close()
		return nil, errors.Join(errs...)
	}
	if err := c.finish(); err != nil {
		return nil, err
	}
	for _, name := range m.Names() {
		if _, ok := c.index[name]; !ok {
			errs = append(errs, fmt.Errorf("%s: tensor %s: missing, named by %s", filepath.Join(dir, m.WeightMap[name]), name, filepath.Base(index)))
		}
	}
	if len(errs) > 0 {
		c.Close()
		return nil, errors.Join(errs...)
	}
	return c, nil
}

// Index is model.safetensors.index.json.
type Index struct {
	Metadata  jsontext.Value    `json:"metadata"`
	WeightMap map[string]string `json:"weight_map"`
}

// Names returns the tensors' names in byte order.
func (x *Index) Names() []string {
	names := make([]string, 0, len(x.WeightMap))
	for name := range x.WeightMap {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Shards returns the files' names in byte order, each once.
func (x *Index) Shards() []string {
	var files []string
	for _, f := range x.WeightMap {
		files = append(files, f)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// ReadIndex reads an index and refuses shards outside its folder.
func ReadIndex(path string) (*Index, error) {
	b, err := readBounded(path, maxHeader)
	if err != nil {
		return nil, err
	}
	var x Index
	if err := json.Unmarshal(b, &x); err != nil {
		return nil, fmt.Errorf("%s: %w", path, ordjson.Explain(b, err))
	}
	if len(x.WeightMap) == 0 {
		return nil, fmt.Errorf("%s: weight_map: empty", path)
	}
	for name, f := range x.WeightMap {
		if f == "" || f == "." || f == ".." || strings.ContainsAny(f, "/\\\x00") {
			return nil, fmt.Errorf("%s: weight_map: %s: %q is not a file name", path, name, f)
		}
	}
	return &x, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", path, limit)
	}
	return b, err
}

// add maps a file and appends its tensors.
func (c *Checkpoint) add(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", path)
	case info.Size() < 8:
		return fmt.Errorf("%s: truncated: %d bytes, a header has at least 8", path, info.Size())
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("%s: mmap: %w", path, err)
	}
	tensors, metadata, err := Parse(m)
	if err != nil {
		unix.Munmap(m)
		return fmt.Errorf("%s: %w", path, err)
	}
	if c.maps == nil {
		c.Metadata = metadata
	}
	c.maps = append(c.maps, m)
	c.Files = append(c.Files, path)
	c.tensors = append(c.tensors, tensors...)
	return nil
}

// finish sorts and indexes the tensors and refuses a name that two shards hold.
func (c *Checkpoint) finish() error {
	slices.SortFunc(c.tensors, func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) })
	c.index = make(map[string]int, len(c.tensors))
	for i, t := range c.tensors {
		if _, twice := c.index[t.Name]; twice {
			dir := filepath.Dir(c.Files[0])
			c.Close()
			return fmt.Errorf("%s: tensor %s: in two shards", dir, t.Name)
		}
		c.index[t.Name] = i
	}
	return nil
}

type entry struct {
	Dtype   Dtype   `json:"dtype"`
	Shape   []int64 `json:"shape"`
	Offsets []int64 `json:"data_offsets"`
}

// Parse reads the content of a file. The tensors' Data are views of b, in the order of their offsets.
func Parse(b []byte) ([]Tensor, map[string]string, error) {
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("truncated: %d bytes, a header has at least 8", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, nil, fmt.Errorf("header of %d bytes: more than %d", n, maxHeader)
	}
	if n > uint64(len(b)-8) {
		return nil, nil, fmt.Errorf("truncated: header of %d bytes in a file of %d", n, len(b))
	}
	header, data := b[8:8+n], b[8+n:]
	tensors, metadata, offsets, err := parseHeader(header)
	if err != nil {
		return nil, nil, err
	}
	order := make([]int, len(tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		if d := offsets[i][0] - offsets[j][0]; d != 0 {
			return sign(d)
		}
		return sign(offsets[i][1] - offsets[j][1])
	})
	sorted := make([]Tensor, len(tensors))
	end := int64(0)
	for k, i := range order {
		t, o := tensors[i], offsets[i]
		if o[0] != end {
			what := "a hole before it"
			if o[0] < end {
				what = "overlaps the tensor before it"
			}
			return nil, nil, fmt.Errorf("tensor %s: data_offsets %d to %d: %s, which ends at %d", t.Name, o[0], o[1], what, end)
		}
		size, err := t.Bytes()
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if o[1]-o[0] != size {
			return nil, nil, fmt.Errorf("tensor %s: data_offsets hold %d bytes, %s of shape %v has %d", t.Name, o[1]-o[0], t.Dtype, t.Shape, size)
		}
		if o[1] > int64(len(data)) {
			return nil, nil, fmt.Errorf("tensor %s: ends at byte %d of %d: the file is truncated", t.Name, o[1], len(data))
		}
		t.Data = data[o[0]:o[1]:o[1]]
		sorted[k], end = t, o[1]
	}
	if end != int64(len(data)) {
		return nil, nil, fmt.Errorf("%d bytes after the last tensor", int64(len(data))-end)
	}
	return sorted, metadata, nil
}

func parseHeader(header []byte) (tensors []Tensor, metadata map[string]string, offsets [][2]int64, err error) {
	// Numbers such as 1e3 or a name twice are refused by encoding/json/v2, and so is text that is not UTF-8.
	d := jsontext.NewDecoder(bytes.NewReader(header))
	if d.PeekKind() != '{' || len(header) == 0 || header[0] != '{' {
		return nil, nil, nil, errors.New("header: not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, nil, fmt.Errorf("header: %w", err)
	}
	for d.PeekKind() == '"' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("header: %w", err)
		}
		name := token.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, nil, nil, fmt.Errorf("header: tensor %s: %w", name, err)
		}
		if name == "__metadata__" {
			if err := json.Unmarshal(value, &metadata); err != nil {
				return nil, nil, nil, fmt.Errorf("header: __metadata__: %w", ordjson.Explain(value, err))
			}
			continue
		}
		var e entry
		if err := json.Unmarshal(value, &e, json.RejectUnknownMembers(true)); err != nil {
			return nil, nil, nil, fmt.Errorf("tensor %s: %w", name, ordjson.Explain(value, err))
		}
		if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] {
			return nil, nil, nil, fmt.Errorf("tensor %s: data_offsets %v: not a beginning and an end", name, e.Offsets)
		}
		if e.Shape == nil {
			return nil, nil, nil, fmt.Errorf("tensor %s: no shape", name)
		}
		tensors = append(tensors, Tensor{Name: name, Dtype: e.Dtype, Shape: e.Shape})
		offsets = append(offsets, [2]int64{e.Offsets[0], e.Offsets[1]})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil, nil, fmt.Errorf("header: %w", err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, nil, nil, errors.New("header: text after the JSON object")
	}
	return tensors, metadata, offsets, nil
}

func sign(d int64) int {
	switch {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}
