package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/spf13/cobra"

	"github.com/hone-ml/hone/runner/provenance"
)

func verifyCommand() *cobra.Command {
	var f flags
	var key, file string
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "hold an exported folder against its provenance",
		Example: `  hone verify out
  hone verify out --key cosign.pub
  hone show ship --provenance > ship.intoto.jsonl
  hone verify copy --provenance ship.intoto.jsonl`,
		Long: `verify reads every file of DIR and compares it with the provenance that hone export wrote there: what is missing, what has changed
and what is not in it are all told, and links too, and the exit code is 5. What git and the hub's client leave in a folder (.git, .gitattributes,
.cache/huggingface) is not looked at. It needs neither a network nor a store.

Without --key anyone who changed a file could have changed the provenance as well: --key PUBLIC wants every statement
signed by that key (cosign.pub, or another ed25519 or ECDSA key in PEM).`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			dir := args[0]
			if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
				return usage("%s: no such folder", dir)
			} else if err != nil {
				return usage("%w", err)
			} else if !info.IsDir() {
				return usage("%s: not a folder", dir)
			}
			var public dsse.SignerVerifier
			if key != "" {
				var err error
				if public, err = provenance.PublicKey(key); err != nil {
					return usage("--key: %w", err)
				}
			}
			p, path, err := readProvenance(dir, file, public)
			if err != nil {
				return err
			}
			problems, err := p.Check(ctx, dir, inside(dir, path), bytesBar(c.ErrOrStderr(), "verifying "+dir))
			if err != nil {
				return err
			}
			v := verified{
				Path: dir, Provenance: path, Files: len(p.Files), Signature: signature(p), KeyID: p.KeyID,
				Pipeline: p.Pipeline, Stage: p.Stage, Kind: p.Kind, Key: p.Key,
				Problems: append([]provenance.Problem{}, problems...),
			}
			if f.json {
				err = printJSON(c, v)
			} else {
				err = v.print(c)
			}
			if err == nil && len(problems) > 0 {
				err = &exit{code: exitDamaged}
			}
			return err
		},
	}
	c.Flags().StringVar(&key, "key", "", "the public key in `FILE` must have signed it")
	c.Flags().StringVar(&file, "provenance", "", "the provenance is in `FILE` (DIR/"+provenance.File+")")
	f.register(c, "json")
	return c
}

// verified is what verify found, as --json prints it.
type verified struct {
	Path       string               `json:"path"`
	Provenance string               `json:"provenance"`
	Files      int                  `json:"files"`
	Signature  string               `json:"signature"` // none, unchecked or verified
	KeyID      string               `json:"key_id,omitempty"`
	Pipeline   string               `json:"pipeline"`
	Stage      string               `json:"stage"`
	Kind       string               `json:"kind"`
	Key        string               `json:"key"`
	Problems   []provenance.Problem `json:"problems"`
}

func signature(p *provenance.Provenance) string {
	switch {
	case p.KeyID != "":
		return "verified"
	case p.Signed:
		return "unchecked"
	}
	return "none"
}

func (v verified) print(c *cobra.Command) error {
	w := c.OutOrStdout()
	for _, p := range v.Problems {
		fmt.Fprintf(w, "%s: %s\n", oneLine(p.Path), oneLine(p.What))
	}
	said := map[string]string{
		"none":      "not signed: whoever can write here could have written the provenance too",
		"unchecked": "signed, and the signature is not checked: --key FILE does",
		"verified":  "signed by " + v.KeyID,
	}[v.Signature]
	made := "which run made it is not told"
	if v.Stage != "" {
		made = fmt.Sprintf("made by %s/%s (%s), key %.12s", oneLine(v.Pipeline), oneLine(v.Stage), oneLine(v.Kind), oneLine(v.Key))
	}
	_, err := fmt.Fprintf(w, "%s: %s, %s\n%s\n%s\n", v.Path, count(v.Files, "file"), count(len(v.Problems), "problem"), made, said)
	return err
}

// oneLine is a name from a folder or from provenance, neither of which is ours: quoted where it would break the line or the terminal.
func oneLine(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// readProvenance reads the named file, else the one in dir, which must be a file of its own: a link or a pipe there is somebody's trap.
func readProvenance(dir, file string, key dsse.SignerVerifier) (*provenance.Provenance, string, error) {
	path := file
	if path == "" {
		path = filepath.Join(dir, provenance.File)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, "", usage("%s: no %s in it: hone export writes one; --provenance FILE names one elsewhere", dir, provenance.File)
		case err != nil:
			return nil, "", err
		case !info.Mode().IsRegular():
			return nil, "", fail(exitDamaged, "%s: not a regular file", path)
		}
	}
	p, err := provenance.ReadProvenance(path, key)
	if _, malformed := errors.AsType[*provenance.Malformed](err); malformed {
		return nil, "", fail(exitDamaged, "%w", err)
	}
	if err != nil {
		return nil, "", usage("%w", err)
	}
	if len(p.Files) == 0 {
		return nil, "", fail(exitDamaged, "%s:1: names no file", path)
	}
	return p, path, nil
}

// inside is the path of a file as the folder has it; "" where it lies elsewhere.
func inside(dir, file string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	if file, err = filepath.Abs(file); err != nil {
		return ""
	}
	rel, err := filepath.Rel(dir, file)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.ToSlash(rel)
}
