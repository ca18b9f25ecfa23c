package safetensors

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// MaxShard is the most bytes of tensors that WriteDir puts in one file, unless one tensor alone is larger:
// the 5 GB that the hub's tools used for years and every server reads.
const MaxShard = 5_000_000_000

// PyTorch is the metadata that transformers demands of a file.
var PyTorch = map[string]string{"format": "pt"}

// Write writes tensors to one file at path, byte for byte as the reference implementation would: ordered by width
// of the dtype, then by name; the header padded to 8 bytes. It holds no more than one tensor's Data and does not sync.
func Write(path string, tensors []Tensor, metadata map[string]string) (err error) {
	header, order, err := makeHeader(tensors, metadata)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, t := range order {
		if err := writeData(w, t); err != nil {
			return fmt.Errorf("%s: tensor %s: %w", path, t.Name, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// WriteDir writes model.safetensors into dir, or shards of at most maxShard bytes with their index, as transformers'
// save_pretrained names and fills them: tensors in the order given, a new shard when the next one does not fit.
func WriteDir(dir string, tensors []Tensor, maxShard int64) error {
	shards, total, err := split(tensors, maxShard)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if len(shards) == 1 {
		return Write(filepath.Join(dir, "model.safetensors"), shards[0], PyTorch)
	}
	files := map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		if err := Write(filepath.Join(dir, name), shard, PyTorch); err != nil {
			return err
		}
		for _, t := range shard {
			files[t.Name] = name
		}
	}
	return writeIndex(filepath.Join(dir, "model.safetensors.index.json"), files, tensors, total)
}

func split(tensors []Tensor, maxShard int64) (shards [][]Tensor, total int64, err error) {
	shards = [][]Tensor{nil}
	size := int64(0)
	for _, t := range tensors {
		n, err := t.Bytes()
		if err != nil {
			return nil, 0, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if size > 0 && size+n > maxShard {
			shards, size = append(shards, nil), 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], t)
		size += n
		total += n
	}
	return shards, total, nil
}

func writeIndex(path string, files map[string]string, tensors []Tensor, total int64) error {
	parameters := int64(0)
	for i := range tensors {
		parameters += tensors[i].Elements()
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"metadata\": {\n    \"total_parameters\": %d,\n    \"total_size\": %d\n  },\n  \"weight_map\": {\n", parameters, total)
	for i, name := range names {
		key, _ := jsontext.AppendQuote(nil, name)
		comma := ","
		if i == len(names)-1 {
			comma = ""
		}
		fmt.Fprintf(&b, "    %s: %q%s\n", key, files[name], comma)
	}
	b.WriteString("  }\n}\n")
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// makeHeader returns the length, the JSON and its padding, and the tensors in the order of their data.
func makeHeader(tensors []Tensor, metadata map[string]string) ([]byte, []*Tensor, error) {
	order := make([]*Tensor, len(tensors))
	for i := range tensors {
		order[i] = &tensors[i]
	}
	slices.SortFunc(order, func(a, b *Tensor) int {
		if d := b.Dtype.rank() - a.Dtype.rank(); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	b := make([]byte, 8, 1<<12)
	b = append(b, '{')
	var err error
	if len(metadata) > 0 {
		if b, err = appendMetadata(b, metadata); err != nil {
			return nil, nil, err
		}
	}
	offset := int64(0)
	names := make(map[string]bool, len(order))
	for _, t := range order {
		size, err := t.Bytes()
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if names[t.Name] || t.Name == "__metadata__" {
			return nil, nil, fmt.Errorf("tensor %s: name is taken", t.Name)
		}
		names[t.Name] = true
		if len(b) > 9 {
			b = append(b, ',')
		}
		if b, err = jsontext.AppendQuote(b, t.Name); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		b = fmt.Appendf(b, `:{"dtype":"%s","shape":[`, t.Dtype)
		for i, d := range t.Shape {
			if i > 0 {
				b = append(b, ',')
			}
			b = fmt.Append(b, d)
		}
		b = fmt.Appendf(b, `],"data_offsets":[%d,%d]}`, offset, offset+size)
		offset += size
	}
	b = append(b, '}')
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if len(b)-8 > maxHeader {
		return nil, nil, fmt.Errorf("header of %d bytes: more than %d", len(b)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	return b, order, nil
}

func appendMetadata(b []byte, metadata map[string]string) ([]byte, error) {
	keys := make([]string, 0, len(metadata))
	for k := range metadata {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, `"__metadata__":{`...)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = jsontext.AppendQuote(b, k); err != nil {
			return nil, fmt.Errorf("metadata %q: %w", k, err)
		}
		b = append(b, ':')
		if b, err = jsontext.AppendQuote(b, metadata[k]); err != nil {
			return nil, fmt.Errorf("metadata %s: %w", k, err)
		}
	}
	return append(b, '}'), nil
}

func writeData(w io.Writer, t *Tensor) error {
	size, err := t.Bytes()
	if err != nil {
		return err
	}
	count := &counter{w: w, left: size}
	if t.Data == nil && t.Stream != nil {
		err = t.Stream(count)
	} else {
		_, err = count.Write(t.Data)
	}
	if err == nil && count.left != 0 {
		err = fmt.Errorf("%d bytes too few for %s of shape %v", count.left, t.Dtype, t.Shape)
	}
	return err
}

// counter refuses more bytes than a tensor has: they would shift all that follow.
type counter struct {
	w    io.Writer
	left int64
}

func (c *counter) Write(b []byte) (int, error) {
	if int64(len(b)) > c.left {
		return 0, fmt.Errorf("%d bytes too many", int64(len(b))-c.left)
	}
	n, err := c.w.Write(b)
	c.left -= int64(n)
	return n, err
}

// Watch returns tensors that are written as before, but stop when ctx is cancelled, and tell progress, if any, the bytes
// written of all.
func Watch(ctx context.Context, tensors []Tensor, progress func(done, total int64)) []Tensor {
	watched := slices.Clone(tensors)
	w := &watcher{ctx: ctx, progress: progress}
	for i := range watched {
		t := tensors[i]
		n, _ := t.Bytes()
		w.total += n
		watched[i].Data = nil
		watched[i].Stream = func(out io.Writer) error { return writeData(&watchedWriter{w, out}, &t) }
	}
	return watched
}

type watcher struct {
	ctx         context.Context
	progress    func(done, total int64)
	done, total int64
}

type watchedWriter struct {
	*watcher
	out io.Writer
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.out.Write(b)
	w.done += int64(n)
	if w.progress != nil {
		w.progress(w.done, w.total)
	}
	return n, err
}
