package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/hub"
	"github.com/hone-ml/hone/pipelines"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/provenance"
	"github.com/hone-ml/hone/runner/store"
)

// The files that describe an exported folder, beside its provenance.
const (
	cardFile = "README.md"
	bomFile  = "bom.cdx.json"
)

// passwordVariable holds the password of a private key where nobody is at a terminal.
const passwordVariable = "HONE_KEY_PASSWORD"

// signHelp is for verbs that sign.
const signHelp = `--sign KEYFILE signs each statement (DSSE): with a cosign.key, whose password ` + passwordVariable + ` holds, else you are asked for
it, or with an ed25519 or ECDSA key in PEM (PKCS #8) without one.`

// provenanceFlags are those of show that print provenance.
type provenanceFlags struct {
	on     bool
	format string
	sign   string
}

func (p *provenanceFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&p.on, "provenance", false, "what STAGE[.PORT] was made of, from the records")
	c.Flags().StringVar(&p.format, "format", "slsa", "`FORMAT` of --provenance: slsa, cyclonedx or card")
	c.Flags().StringVar(&p.sign, "sign", "", "sign --provenance with the private key in `KEYFILE`")
}

// check refuses what does not go together.
func (p *provenanceFlags) check(c *cobra.Command, f *flags, args []string) error {
	switch {
	case !p.on && c.Flags().Changed("format"), !p.on && p.sign != "":
		return usage("--format and --sign are for --provenance")
	case !p.on:
		return nil
	case len(args) == 0:
		return usage("--provenance is of one stage: hone show STAGE --provenance")
	case p.format != "slsa" && p.format != "cyclonedx" && p.format != "card":
		return usage("--format %s: slsa, cyclonedx or card", p.format)
	case p.sign != "" && p.format != "slsa":
		return usage("--sign is for --format slsa, whose statements have a signature")
	case f.json:
		return usage("--json: --provenance has formats of its own: slsa and cyclonedx are JSON")
	}
	return nil
}

// print writes the provenance of the artifacts of a stage, or of an earlier run.
func (p *provenanceFlags) print(c *cobra.Command, f *flags, name string, path []string) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	key, err := signingKey(ctx, p.sign)
	if err != nil {
		return err
	}
	rec, port, st, err := f.recordOf(name, path)
	if err != nil {
		return err
	}
	l, err := provenance.Trace(st, rec, port)
	if err != nil {
		return err
	}
	ports := slices.Sorted(maps.Keys(l.Hashes()))
	if p.format != "slsa" && len(ports) > 1 {
		return usage("%s has several ports: %s.%s", name, name, strings.Join(ports, ", "+name+"."))
	}
	if p.format == "card" {
		if err := f.judge(l, path); err != nil {
			return err
		}
		facts := l.Facts(st, "", baseLicense)
		if !facts.IsModel() {
			return usage("%s: a card is of a model, and this is a %s", name, facts.Kind)
		}
		return written(c)(facts.Card())
	}
	files, err := treeFiles(ctx, c, st, l)
	if err != nil {
		return err
	}
	if p.format == "cyclonedx" {
		ended := rec.Started.Add(time.Duration(rec.Seconds * float64(time.Second)))
		return written(c)(l.Facts(st, "", baseLicense).BOM(files, ended, version()))
	}
	return written(c)(provenance.Bundle(l.Statements(files, nil), key))
}

// judge has the gates of the pipeline at PATH judge what measured an artifact. An earlier run can be named where there is no pipeline,
// or one that is wrong by now: then none does.
func (f *flags) judge(l *provenance.Lineage, path []string) error {
	if len(l.Evals) == 0 {
		return nil
	}
	r, _, err := f.runner(path, runner.Options{})
	var none *pipelines.UsageError
	var invalid pipelines.Errors
	if errors.As(err, &none) || errors.As(err, &invalid) {
		return nil
	} else if err != nil {
		return err
	}
	plan, err := r.Plan()
	if err != nil {
		return err
	}
	return l.Judge(plan)
}

// written puts what was made on standard output.
func written(c *cobra.Command) func([]byte, error) error {
	return func(b []byte, err error) error {
		if err == nil {
			_, err = c.OutOrStdout().Write(b)
		}
		return err
	}
}

// recordOf is that of a stage's current run, or of what a key or hash names, and the port that the name says.
func (f *flags) recordOf(name string, path []string) (*store.Record, string, *store.Store, error) {
	rec, port, st, err := f.record(name, pipelineOf(path))
	if err != nil {
		return nil, "", nil, err
	}
	if rec == nil {
		g, err := f.graph(path)
		if err != nil {
			return nil, "", nil, f.swapped(err, []string{name})
		}
		var stage string
		stage, port = splitPort(g, name)
		var r *runner.Runner
		if r, st, err = f.runner(path, runner.Options{Stages: []string{stage}}); err != nil {
			return nil, "", nil, err
		}
		plan, err := r.Plan()
		if err != nil {
			return nil, "", nil, err
		}
		s := plan.Stage(stage)
		if rec = s.Record; rec == nil {
			return nil, "", nil, f.nothing(r, plan, s, "record")
		}
	}
	if _, ok := rec.Outputs[port]; port != "" && !ok {
		return nil, "", nil, usage("%s has no port %s; it has %s", rec.Stage, port, strings.Join(slices.Sorted(maps.Keys(rec.Outputs)), ", "))
	}
	return rec, port, st, nil
}

// treeFiles is the files of the artifacts, below their ports where there are several. Those that gc has freed are not listed.
func treeFiles(ctx context.Context, c *cobra.Command, st *store.Store, l *provenance.Lineage) ([]provenance.Resource, error) {
	lock, err := st.Use()
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	var all []provenance.Resource
	for _, port := range slices.Sorted(maps.Keys(l.Hashes())) {
		hash := l.Hashes()[port].Hash
		if err := st.Verify(hash); err != nil {
			fmt.Fprintf(c.ErrOrStderr(), "warning: %s.%s: %v: its files are not listed\n", l.Made.Stage, port, err)
			continue
		}
		files, problems, err := provenance.Files(ctx, st.Tree(hash), nil, bytesBar(c.ErrOrStderr(), "reading "+l.Made.Stage+"."+port))
		if err != nil {
			return nil, err
		}
		if len(problems) > 0 {
			return nil, fmt.Errorf("%s: %s", filepath.Join(st.Tree(hash), problems[0].Path), problems[0].What)
		}
		for _, file := range files {
			if len(l.Hashes()) > 1 {
				file.Name = port + "/" + file.Name
			}
			all = append(all, file)
		}
	}
	return all, nil
}

// describe writes the card, the BOM and the provenance of what was exported into dir, in this order: each is of those before it.
func describe(ctx context.Context, c *cobra.Command, dir string, l *provenance.Lineage, st *store.Store, e *provenance.Exported, key dsse.SignerVerifier) error {
	format, _ := e.Parameters["format"].(string)
	facts := l.Facts(st, format, baseLicense)
	card, err := facts.Card()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, cardFile), card, 0o644); err != nil {
		return err
	}
	files, problems, err := provenance.Files(ctx, dir, nil, bytesBar(c.ErrOrStderr(), "hashing"))
	for _, p := range problems {
		err = cmp.Or(err, fmt.Errorf("%s: %s", p.Path, p.What))
	}
	if err != nil {
		return err
	}
	e.Files = files
	e.Finished = time.Now()
	bom, err := facts.BOM(e.Files, e.Finished, e.Version)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, bomFile), bom, 0o644); err != nil {
		return err
	}
	e.Add(bomFile, bom)
	bundle, err := provenance.Bundle(l.Statements(nil, e), key)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, provenance.File), bundle, 0o644)
}

// baseLicense is what the base's card in the hub's cache says; no network is asked.
func baseLicense(repo, commit string) string {
	client, err := hub.New()
	if err != nil {
		return ""
	}
	return provenance.License(client.Card(repo, commit))
}

// signingKey reads the private key in a file; nil where none is named.
func signingKey(ctx context.Context, path string) (dsse.SignerVerifier, error) {
	if path == "" {
		return nil, nil
	}
	key, err := provenance.PrivateKey(path, func() ([]byte, error) { return password(ctx, path) })
	if err != nil && ctx.Err() == nil {
		return nil, usage("--sign: %w", err)
	}
	return key, err
}

// password is that of a private key: of the environment, else asked for at the terminal, where it is not shown.
func password(ctx context.Context, path string) ([]byte, error) {
	if secret, ok := os.LookupEnv(passwordVariable); ok {
		return []byte(secret), nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil, fmt.Errorf("%s: it has a password: %s holds it where there is no terminal", path, passwordVariable)
	}
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "password of %s: ", path)
	defer fmt.Fprintln(os.Stderr)
	type answer struct {
		secret []byte
		err    error
	}
	read := make(chan answer, 1)
	go func() {
		secret, err := term.ReadPassword(fd)
		read <- answer{secret, err}
	}()
	select {
	case a := <-read:
		return a.secret, a.err
	case <-ctx.Done(): // what was typed is shown again from now on
		return nil, cmp.Or(term.Restore(fd, before), ctx.Err())
	}
}
