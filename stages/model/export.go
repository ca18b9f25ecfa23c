package model

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Export is export: a model as a Hugging Face folder, or an adapter as a PEFT folder, with nothing that the tools which
// read it would not.
func Export(ctx context.Context, j *stages.Job) error {
	var c schemas.Export
	if err := j.Decode(&c); err != nil {
		return err
	}
	return ExportTo(ctx, j.In("model"), c.Format, j.Out("files"))
}

// ExportTo writes the model or adapter to the folder out, which is there and empty. Weights are linked where out is on
// the store's file system: whoever gives the folder away, or changes it, copies them first.
func ExportTo(ctx context.Context, in job.Input, format, out string) error {
	switch {
	case format == "hf" && in.Kind == "adapter":
		return stages.Errorf("format", "hf is a whole model, and this is an adapter: export it as peft, or merge it with model.merge first")
	case format == "peft" && in.Kind != "adapter":
		return stages.Errorf("format", "peft is an adapter, and this is a whole model: export it as hf")
	case format == "hf":
		return linkModel(ctx, out, in.Path)
	case format == "peft":
		return exportAdapter(ctx, in, out)
	}
	return stages.Errorf("format", "%q: not hf or peft", format)
}

// exportAdapter writes adapter_config.json and adapter_model.safetensors, and beside them the tokenizer and template
// that the adapter was trained with, as TRL saves them.
func exportAdapter(ctx context.Context, in job.Input, out string) error {
	if err := linkFiles(ctx, out, in.Path, []string{"adapter_model.safetensors"}); err != nil {
		return err
	}
	from := in.Path
	if _, err := os.Stat(filepath.Join(from, "tokenizer.json")); errors.Is(err, fs.ErrNotExist) && in.Base != nil {
		from = in.Base.Path
	}
	if err := model.CopyFiles(out, from); err != nil {
		return err
	}
	for _, name := range []string{"config.json", "generation_config.json"} { // the base's: it is not in this folder
		if err := os.RemoveAll(filepath.Join(out, name)); err != nil {
			return err
		}
	}
	config, err := readObject(in.Path, "adapter_config.json")
	if err != nil {
		return err
	}
	if config == nil {
		return stages.Errorf("model", "no adapter_config.json")
	}
	base, err := baseName(config, in.Base)
	if err != nil {
		return err
	}
	if base == "" {
		// PeftModel.from_pretrained(base, folder) needs no name; AutoPeftModel does, and a path of this machine
		// would be wrong elsewhere.
		config.Set("base_model_name_or_path", nil)
	} else {
		config.Set("base_model_name_or_path", base)
	}
	return writeObject(out, "adapter_config.json", config)
}

var hubNames = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+$`)

// baseName returns the name of the base on the hub: what the adapter says already, or what the base's config.json says
// that it came from; "" where neither is one.
func baseName(config *ordjson.Object, base *job.Input) (string, error) {
	if name, ok := config.Text("base_model_name_or_path"); ok && hubNames.MatchString(name) {
		return name, nil
	}
	if base == nil {
		return "", nil
	}
	c, err := readObject(base.Path, "config.json")
	if err != nil || c == nil {
		return "", err
	}
	if name, ok := c.Text("_name_or_path"); ok && hubNames.MatchString(name) {
		return name, nil
	}
	return "", nil
}
