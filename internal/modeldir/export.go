package modeldir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/ordjson"
)

// Place puts a file of weights into a folder: Link within the store, or a copy for the user.
type Place func(ctx context.Context, to, from string) error

// Export says how an artifact is written for other tools.
type Export struct {
	Format   string                  // hf, peft, gguf
	Type     string                  // of the matrices in gguf: one of gguf.Types
	Place    Place                   // of weights in hf and peft
	Progress func(done, total int64) // bytes of gguf's tensors; may be nil
	Warn     func(format string, args ...any)
}

// Write writes an artifact into the folder out, which is there and empty: a model as hf or as model.gguf, an adapter as
// peft, and nothing that the tools which read it would not.
func (e Export) Write(ctx context.Context, out string, in job.Input) error {
	switch {
	case e.Format != "peft" && in.Kind == "adapter":
		return fmt.Errorf("format: %s is a whole model, and this is an adapter: export it as peft, or merge it with model.merge first", e.Format)
	case e.Format == "peft" && in.Kind != "adapter":
		return errors.New("format: peft is an adapter, and this is a whole model: export it as hf or gguf")
	case e.Format != "gguf" && e.Type != "":
		return fmt.Errorf("type: %s is for gguf, not %s, which keeps the weights as they are", e.Type, e.Format)
	case e.Format == "hf":
		return CopyModel(ctx, out, in.Path, e.Place)
	case e.Format == "peft":
		return exportAdapter(ctx, out, in, e.Place)
	case e.Format == "gguf":
		return gguf.Write(ctx, filepath.Join(out, "model.gguf"), in.Path, e.Type, e.Warn, e.Progress)
	}
	return fmt.Errorf("format: %q is not hf, peft or gguf", e.Format)
}

// CopyModel copies companions and places weights.
func CopyModel(ctx context.Context, out, in string, place Place) error {
	if err := CopyCompanions(out, in); err != nil {
		return err
	}
	names, err := Weights(in)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := place(ctx, filepath.Join(out, name), filepath.Join(in, name)); err != nil {
			return err
		}
	}
	return nil
}

// exportAdapter writes adapter_config.json and adapter_model.safetensors, and beside them the tokenizer and template
// that the adapter was trained with, as TRL saves them.
func exportAdapter(ctx context.Context, out string, in job.Input, place Place) error {
	const weights, configuration = "adapter_model.safetensors", "adapter_config.json"
	config, err := ReadObject(in.Path, configuration)
	if err != nil {
		return err
	}
	if config == nil {
		return fmt.Errorf("%s: no %s", in.Path, configuration)
	}
	from := in.Path
	if _, err := os.Stat(filepath.Join(from, "tokenizer.json")); errors.Is(err, fs.ErrNotExist) && in.Base != nil {
		from = in.Base.Path
	}
	if err := CopyCompanions(out, from); err != nil {
		return err
	}
	for _, name := range []string{"config.json", "generation_config.json"} { // the base's, which is not in this folder
		if err := os.RemoveAll(filepath.Join(out, name)); err != nil {
			return err
		}
	}
	base, err := BaseName(config, in.Base)
	if err != nil {
		return err
	}
	// PeftModel.from_pretrained(base, folder) needs no name. AutoPeftModel does, and a path of this machine would be
	// wrong elsewhere.
	var name ordjson.Value
	if base != "" {
		name = base
	}
	config.Set("base_model_name_or_path", name)
	if err := WriteObject(out, configuration, config); err != nil {
		return err
	}
	return place(ctx, filepath.Join(out, weights), filepath.Join(in.Path, weights))
}

var hubNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$`)

// BaseName returns the name of the base on the hub: what the adapter says already, or what the base's config.json says
// that it came from; "" where neither is one.
func BaseName(config *ordjson.Object, base *job.Input) (string, error) {
	if name, ok := config.Text("base_model_name_or_path"); ok && hubNames.MatchString(name) {
		return name, nil
	}
	if base == nil {
		return "", nil
	}
	c, err := ReadObject(base.Path, "config.json")
	if err != nil || c == nil {
		return "", err
	}
	if name, ok := c.Text("_name_or_path"); ok && hubNames.MatchString(name) {
		return name, nil
	}
	return "", nil
}
