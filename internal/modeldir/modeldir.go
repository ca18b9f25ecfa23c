// Package modeldir is the files of a Hugging Face model folder: which there are, how they are copied, how their JSON is
// changed. It needs no tensors, so that programs without libtorch use it too.
//
//	companions  what stands beside the weights: configuration, tokenizer, templates
//	weights     model.safetensors, or shards and the index that names them
//	adapter     adapter_config.json and adapter_model.safetensors, over a base that is another folder
package modeldir

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/safetensors"
)

// Companions is the files of a model folder beside its weights, as patterns of their paths. Nothing else of a folder is
// ever copied: no pickles, no code, no training state.
var Companions = []string{"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	"added_tokens.json", "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja", "vocab.json", "vocab.txt",
	"merges.txt", "tokenizer.model"}

// maxCompanion bounds a file beside the weights, in bytes.
const maxCompanion = 1 << 30

// CopyCompanions copies the files of a model folder that are not weights.
func CopyCompanions(to, from string) error {
	for _, pattern := range Companions {
		names, err := fs.Glob(os.DirFS(from), pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			info, err := os.Stat(filepath.Join(from, name))
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() || info.Size() > maxCompanion {
				return fmt.Errorf("%s: not a regular file of at most %d bytes", filepath.Join(from, name), maxCompanion)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
				return err
			}
			if err := Copy(context.Background(), filepath.Join(to, name), filepath.Join(from, name), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Weights returns the names of a folder's safetensors: model.safetensors, or the shards and their index.
func Weights(dir string) ([]string, error) {
	const single, index = "model.safetensors", "model.safetensors.index.json"
	if _, err := os.Stat(filepath.Join(dir, single)); err == nil {
		return []string{single}, nil
	}
	x, err := safetensors.ReadIndex(filepath.Join(dir, index))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: no %s and no %s", dir, single, index)
	}
	if err != nil {
		return nil, err
	}
	return append(x.Shards(), index), nil
}

// Copy copies a file; one that is there already is replaced. add, if any, is told the bytes as they go.
func Copy(ctx context.Context, to, from string, add func(int64)) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		n, err := io.CopyN(out, in, 16<<20) // the kernel copies; between pieces an interruption is noticed
		if add != nil {
			add(n)
		}
		if err == io.EOF {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// Link links a file of the store, or copies it where to is on another file system. A file of the user's is never
// linked: what they do to it later must not reach the store.
func Link(ctx context.Context, to, from string) error {
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	if os.Link(real, to) == nil {
		return nil
	}
	return Copy(ctx, to, real, nil)
}

// ReadObject reads a JSON object of a folder; nil where the file is not there.
func ReadObject(dir, name string) (*ordjson.Object, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	o := &ordjson.Object{}
	if err := o.UnmarshalJSON(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

// WriteObject writes a JSON object as transformers does: indented by two, keys in their order.
func WriteObject(dir, name string, o *ordjson.Object) error {
	v := jsontext.Value(ordjson.Append(nil, o))
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(v, '\n'), 0o644)
}

// Edit changes a JSON object of a folder. A file that is not there is made when change leaves something in it, and one
// that change leaves as it was keeps its bytes.
func Edit(dir, name string, change func(*ordjson.Object)) error {
	o, err := ReadObject(dir, name)
	if err != nil {
		return err
	}
	missing := o == nil
	if missing {
		o = ordjson.New()
	}
	before := string(ordjson.Append(nil, o))
	change(o)
	if missing && o.Len() == 0 || string(ordjson.Append(nil, o)) == before {
		return nil
	}
	return WriteObject(dir, name, o)
}
