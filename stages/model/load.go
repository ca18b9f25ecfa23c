package model

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/hub"
	"github.com/hone-ml/hone/internal/model"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/internal/ordjson"
	"github.com/hone-ml/hone/internal/safetensors"
	"github.com/hone-ml/hone/internal/tokenfile"
	"github.com/hone-ml/hone/internal/tokenizer"
	"github.com/hone-ml/hone/schemas"
	"github.com/hone-ml/hone/stages"
)

// Load is model.load: a model of the hub, of a Hugging Face folder, of a GGUF file, or a fresh one of random weights,
// as a folder of config, safetensors, tokenizer and template alone. Pickles and code are neither read nor kept.
func Load(ctx context.Context, j *stages.Job) error {
	var c schemas.ModelLoad
	if err := j.Decode(&c); err != nil {
		return err
	}
	out := j.Out("model")
	if c.Config != nil {
		if err := fresh(ctx, j, &c, out); err != nil {
			return stages.Errorf("config", "%w", err)
		}
		return check(j, out)
	}
	source := c.Source
	if s, ok := j.Files["source"]; ok { // absolute, or with the commit that the lock pins
		source = s
	}
	if err := load(ctx, j, source, out, c.Dtype); err != nil {
		return err
	}
	return check(j, out)
}

func load(ctx context.Context, j *stages.Job, source, out, dtype string) error {
	if strings.HasPrefix(source, "hf://") {
		return loadHub(ctx, j, source, out, dtype)
	}
	info, err := os.Stat(source)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return loadFolder(ctx, j, source, out, dtype)
	}
	return gguf.Convert(ctx, source, out, dtype, func(done, total int64) { j.Progress(done, total, "bytes") })
}

func loadHub(ctx context.Context, j *stages.Job, source, out, dtype string) error {
	repository, revision, err := hub.Parse(source)
	if err != nil {
		return err
	}
	client, err := hub.New()
	if err != nil {
		return err
	}
	commit, err := client.Resolve(ctx, repository, revision)
	if err != nil {
		return err
	}
	client.Progress = func(done, total int64) { j.Progress(done, total, "bytes") }
	dir, err := client.Model(ctx, repository, commit)
	if err != nil {
		return err
	}
	if err := loadFolder(ctx, j, dir, out, dtype); err != nil {
		return err
	}
	// The name under which others find this model: an adapter's base_model_name_or_path comes from it.
	return modeldir.Edit(out, "config.json", func(o *ordjson.Object) { o.Set("_name_or_path", repository) })
}

// loadFolder copies a Hugging Face folder, with its weights in another dtype where one is asked for.
func loadFolder(ctx context.Context, j *stages.Job, dir, out, dtype string) error {
	if err := recognise(dir); err != nil {
		return err
	}
	weights, err := safetensors.OpenDir(dir)
	if err != nil {
		return err
	}
	defer weights.Close()
	if err := modeldir.CopyCompanions(out, dir); err != nil {
		return err
	}
	for _, name := range []string{"config.json", "tokenizer_config.json"} {
		if err := modeldir.Edit(out, name, dropPaths); err != nil {
			return reworded(err, out, dir) // the copy is no better than the original
		}
	}
	want, err := parseDtype(dtype)
	if err != nil {
		return err
	}
	if want == "" || !slices.ContainsFunc(weights.Tensors(), func(t safetensors.Tensor) bool { return t.Dtype.Floating() && t.Dtype != want }) {
		return copyWeights(ctx, j, dir, out)
	}
	tensors := slices.Clone(weights.Tensors())
	for i, t := range tensors {
		tensors[i] = t.As(want)
	}
	progress := func(done, total int64) { j.Progress(done, total, "bytes") }
	if err := safetensors.WriteDir(out, safetensors.Watch(ctx, tensors, progress), safetensors.MaxShard); err != nil {
		return err
	}
	return modeldir.Edit(out, "config.json", func(o *ordjson.Object) { setDtype(o, dtype) })
}

// recognise tells a folder that is not a model in safetensors, and what to do with it.
func recognise(dir string) error {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	pickles, _ := filepath.Glob(filepath.Join(dir, "pytorch_model*.bin"))
	files, _ := filepath.Glob(filepath.Join(dir, "*.gguf"))
	switch {
	case has("adapter_config.json") && !has("config.json"):
		return fmt.Errorf("%s: an adapter, not a model: load its base, and give the adapter to lora.init", dir)
	case !has("config.json") && len(files) > 0:
		return fmt.Errorf("%s: no config.json; name the GGUF file itself: %s", dir, files[0])
	case !has("config.json"):
		return fmt.Errorf("%s: no config.json: not a Hugging Face model folder", dir)
	case !has("tokenizer.json"):
		_, err := tokenfile.Read(dir) // says so, and what to do
		return err
	case !has("model.safetensors") && !has("model.safetensors.index.json") && len(pickles) > 0:
		return fmt.Errorf("%s: only pickles (%s), which can run code: save it with transformers' save_pretrained, which writes safetensors", dir, filepath.Base(pickles[0]))
	}
	return nil
}

// dropPaths removes where a model lay on the machine that saved it.
func dropPaths(o *ordjson.Object) {
	for _, key := range []string{"_name_or_path", "name_or_path"} {
		if v, ok := o.Text(key); ok && (filepath.IsAbs(v) || strings.HasPrefix(v, ".") || strings.HasPrefix(v, "~") || strings.Contains(v, `\`)) {
			o.Delete(key)
		}
	}
}

func parseDtype(name string) (safetensors.Dtype, error) {
	switch name {
	case "auto":
		return "", nil
	case "float32":
		return safetensors.F32, nil
	case "bfloat16":
		return safetensors.BF16, nil
	}
	return "", fmt.Errorf("dtype %q: not auto, float32 or bfloat16", name)
}

// setDtype says the weights' dtype under the key that the file's transformers had for it.
func setDtype(o *ordjson.Object, dtype string) {
	if _, old := o.Get("torch_dtype"); old {
		o.Set("torch_dtype", dtype)
		return
	}
	o.Set("dtype", dtype)
}

func copyWeights(ctx context.Context, j *stages.Job, dir, out string) error {
	names, err := modeldir.Weights(dir)
	if err != nil {
		return err
	}
	var done, total int64
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		total += info.Size()
	}
	for _, name := range names {
		err := modeldir.Copy(ctx, filepath.Join(out, name), filepath.Join(dir, name), func(n int64) {
			done += n
			j.Progress(done, total, "bytes")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// check tells early what a later stage would trip over: weights that are not those of config.json, and a tokenizer
// that does not load or has more tokens than the embedding has rows.
func check(j *stages.Job, dir string) error {
	config, unexpected, err := model.Inspect(dir)
	if err != nil {
		return trim(err, dir)
	}
	if config.Untied {
		j.Warn("config.json ties lm_head to the embedding, the checkpoint holds another one: tie_word_embeddings is false from here on")
		if err := modeldir.Edit(dir, "config.json", func(o *ordjson.Object) { o.Set("tie_word_embeddings", false) }); err != nil {
			return err
		}
	}
	if len(unexpected) > 0 {
		j.Warn("%d tensors have no place in a %s and are not read: %s", len(unexpected), config.ModelType, strings.Join(unexpected[:min(3, len(unexpected))], ", "))
	}
	if _, err := os.Stat(filepath.Join(dir, "tokenizer.json")); errors.Is(err, os.ErrNotExist) {
		j.Warn("no tokenizer: stages that read text cannot use this model") // a fresh one
		return nil
	}
	t, err := tokenizer.Load(dir)
	if err != nil {
		return trim(err, dir)
	}
	defer t.Close()
	if n := t.MaxID() + 1; int64(n) > config.VocabSize {
		return fmt.Errorf("tokenizer.json: %d ids, the embedding of config.json has %d rows (vocab_size)", n, config.VocabSize)
	}
	if len(t.EOSIDs) == 0 {
		j.Warn("no eos token: generation will not end by itself; template.set gives one")
	}
	return nil
}

// trim takes the job's own folder, which means nothing to the user, from a message.
func trim(err error, dir string) error {
	return reworded(reworded(err, dir+": ", ""), dir+string(filepath.Separator), "")
}

// reworded is err with another path in its message.
func reworded(err error, old, new string) error {
	return &rewordedError{strings.ReplaceAll(err.Error(), old, new), err}
}

type rewordedError struct {
	message string
	err     error
}

func (e *rewordedError) Error() string { return e.message }
func (e *rewordedError) Unwrap() error { return e.err }
