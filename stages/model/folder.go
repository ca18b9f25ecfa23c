package model

import (
	"context"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/safetensors"
)

// weightFiles returns the names of the safetensors of a model folder: model.safetensors, or the shards and their index.
func weightFiles(dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err == nil {
		return []string{"model.safetensors"}, nil
	}
	const name = "model.safetensors.index.json"
	index, err := safetensors.ReadIndex(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	return append(index.Shards(), name), nil
}

// linkModel makes out the model folder in, which the store holds: files beside the weights are copied, since stages
// change them; weights are linked, which costs no space and no hashing.
func linkModel(ctx context.Context, out, in string) error {
	if err := model.CopyFiles(out, in); err != nil {
		return err
	}
	names, err := weightFiles(in)
	if err != nil {
		return err
	}
	return linkFiles(ctx, out, in, names)
}

// linkFiles links files of an artifact into out, or copies them where out is on another file system.
func linkFiles(ctx context.Context, out, in string, names []string) error {
	for _, name := range names {
		from, err := filepath.EvalSymlinks(filepath.Join(in, name))
		if err != nil {
			return err
		}
		if os.Link(from, filepath.Join(out, name)) == nil {
			continue
		}
		if err := copyFile(ctx, filepath.Join(out, name), from, func(int64) {}); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file of the user's; it is never linked, since what they do to it later must not reach the store.
func copyFile(ctx context.Context, to, from string, add func(int64)) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for {
		n, err := io.CopyN(out, in, 16<<20) // the kernel copies; between pieces an interruption is noticed
		add(n)
		if err == io.EOF {
			return nil
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
	}
}

// readObject reads a JSON object of a model folder; nil where the file is not there.
func readObject(dir, name string) (*ordjson.Object, error) {
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

// writeObject writes a JSON object as transformers does: indented by two, keys in their order.
func writeObject(dir, name string, o *ordjson.Object) error {
	v := jsontext.Value(ordjson.Append(nil, o))
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(v, '\n'), 0o644)
}

// edit changes a JSON object of a model folder in place. A file that is not there is made when change leaves
// something in it.
func edit(dir, name string, change func(*ordjson.Object)) error {
	o, err := readObject(dir, name)
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
	return writeObject(dir, name, o)
}
