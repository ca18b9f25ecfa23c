package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/internal/gguf"
	"github.com/hone-ml/hone/internal/job"
	"github.com/hone-ml/hone/internal/modeldir"
	"github.com/hone-ml/hone/runner/provenance"
)

func exportCommand() *cobra.Command {
	f := modelFlags{files: true}
	var format, kind, sign string
	c := &cobra.Command{
		Use:   "export MODEL DIR",
		Short: "a model or an adapter as files that other tools read",
		Example: `  hone export tune out
  hone export tune out --pipeline examples/sft
  hone export ./model out --format gguf
  hone export tune out --sign cosign.key`,
		Long: `export writes MODEL to the new folder DIR: whole, or not at all.

` + modelHelp + `

--format hf is a Hugging Face folder, which AutoModelForCausalLM.from_pretrained(DIR) loads; peft is an adapter's folder
for PeftModel.from_pretrained(base, DIR). Its base_model_name_or_path is the base's name on the hub where it has one,
else null: a path of this machine would be wrong elsewhere. gguf is DIR/model.gguf with tokenizer and chat template, for
llama.cpp and what is built on it; --type is that of its matrices. What an export stage wrote is copied as it is.

Beside what a run made lie README.md, a model card for the hub, bom.cdx.json, a CycloneDX bill of materials, and
provenance.intoto.jsonl, which hone verify DIR reads; all are drawn from the records. ` + signHelp,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if format != "" && format != "hf" && format != "peft" && format != "gguf" {
				return usage("--format %s: hf, peft or gguf", format)
			}
			if c.Flags().Changed("type") && format != "gguf" {
				return usage("--type %s: it is for --format gguf", kind)
			}
			if format == "gguf" && strings.HasSuffix(args[1], ".gguf") {
				return usage("%s: a folder is made, with model.gguf in it", args[1])
			}
			if !slices.Contains(gguf.Types(), kind) {
				return usage("--type %s: %s", kind, strings.Join(gguf.Types(), ", "))
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			c.SetContext(ctx)
			key, err := signingKey(ctx, sign)
			if err != nil {
				return err
			}
			m, err := f.openModel(c, args[0], false)
			if err != nil {
				return err
			}
			defer m.close()
			switch {
			case sign != "" && m.made == nil:
				return usage("--sign: no record says what %s was made of", args[0])
			case m.Kind == "files" && format != "":
				return usage("--format %s: %s is exported already, and is copied as it is", format, args[0])
			case m.Kind == "files":
			case format == "":
				format = "hf"
				if m.Kind == "adapter" {
					format = "peft"
				}
			}
			err = newFolder(args[1], func(dir string) error {
				began := time.Now()
				e := modeldir.Export{Format: format, Place: func(ctx context.Context, to, from string) error {
					return modeldir.Copy(ctx, to, from, nil)
				}, Warn: func(format string, args ...any) { fmt.Fprintf(c.ErrOrStderr(), "warning: "+format+"\n", args...) }}
				if format == "gguf" {
					e.Type, e.Progress = kind, bytesBar(c.ErrOrStderr(), "writing "+args[1])
				}
				write := e.Write
				if m.Kind == "files" {
					write = copyFiles
				}
				if err := write(ctx, dir, m.Input); err != nil || m.made == nil {
					return err
				}
				l, err := provenance.Trace(m.made.store, m.made.record, m.made.port)
				if err != nil {
					return err
				}
				if err := f.judge(l, []string{f.pipeline}); err != nil {
					return err
				}
				as := map[string]any{}
				if format != "" {
					as["format"] = format
				}
				if e.Type != "" {
					as["type"] = e.Type
				}
				return describe(ctx, c, dir, l, m.made.store, &provenance.Exported{Parameters: as, Started: began, Version: version()}, key)
			})
			if err != nil {
				return err
			}
			if f.json {
				written := map[string]any{"path": args[1]}
				if format != "" {
					written["format"] = format
				}
				if m.made != nil {
					written["provenance"] = provenance.File
				}
				if format == "gguf" {
					written["type"] = kind
				}
				return printJSON(c, written)
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), args[1])
			return err
		},
	}
	c.Flags().StringVar(&format, "format", "", "`FORMAT`: hf, peft or gguf (hf or peft, as MODEL is)")
	c.Flags().StringVar(&kind, "type", "f16", "`TYPE` of gguf's matrices: "+strings.Join(gguf.Types(), ", "))
	c.Flags().StringVar(&sign, "sign", "", "sign the provenance with the private key in `KEYFILE`")
	f.register(c, "json")
	return c
}

// copyFiles copies the files of an artifact. One that this verb writes itself is not among them.
func copyFiles(ctx context.Context, to string, in job.Input) error {
	return filepath.WalkDir(in.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(in.Path, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		return modeldir.Copy(ctx, filepath.Join(to, rel), path, nil)
	})
}

// newFolder makes the folder dir with what fill writes: beside its place first, so that it is there whole or not at all.
// A folder that is there must be empty.
func newFolder(dir string, fill func(dir string) error) error {
	dir = filepath.Clean(dir)
	switch entries, err := os.ReadDir(dir); {
	case err == nil && len(entries) > 0:
		return usage("%s: not empty", dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return usage("%w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+strings.TrimLeft(filepath.Base(dir), ".")+".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := errors.Join(os.Chmod(tmp, 0o755), fill(tmp)); err != nil {
		return err
	}
	if err := settle(tmp); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, dir)
}

// settle makes the files of a folder durable, so that its new name never stands for less than all of it.
func settle(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
