package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"

	"github.com/hone-ml/hone/runner/store"
)

// Name is how a plan calls what comes from here.
func (r *Remote) Name() string { return "remote" }

// Records is what the remote knows of a key. One that cannot be read, or is none, is left aside with a warning: the stage runs
// as if it were not there.
func (r *Remote) Records(ctx context.Context, key string) ([]*store.Record, error) {
	all, err := r.list()
	if err != nil {
		return nil, err
	}
	names := slices.Clone(all[key])
	if len(names) == 0 {
		return nil, nil
	}
	r.readAhead(ctx, all, key)
	slices.Sort(names)
	var records []*store.Record
	for _, name := range names {
		s, err := r.record(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			r.warn(fmt.Sprintf("%v: left aside", err))
		default:
			records = append(records, s.Record)
		}
	}
	return records, nil
}

// readAhead reads the records of a small remote all at once: those of a pipeline's stages are wanted one after another, each with
// the time of a round trip.
func (r *Remote) readAhead(ctx context.Context, all map[string][]string, key string) {
	r.mu.Lock()
	begun := len(r.records) > 0
	r.mu.Unlock()
	if begun || len(all) == 1 {
		return
	}
	names := slices.Clone(all[key])
	for _, of := range all {
		names = append(names, of...)
	}
	if len(names) > ahead {
		return
	}
	_ = each(ctx, len(names), 2*stages, func(ctx context.Context, i int) error {
		_, _ = r.record(ctx, names[i]) // whoever wants it meets its error
		return nil
	})
}

func (r *Remote) warn(text string) {
	if r.Warn != nil {
		r.Warn(text)
	}
}

// Report is the file report.json of an artifact, which a plan judges gates by.
func (r *Remote) Report(ctx context.Context, tree string) ([]byte, error) {
	_, files, err := r.manifest(ctx, tree)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(files, func(f store.File) bool { return f.Path == "report.json" })
	if i < 0 {
		return nil, damaged("%s: trees/%s: no report.json", r.name, tree)
	}
	b, err := r.small(ctx, "objects/"+files[i].Object, reportLimit)
	if err != nil {
		return nil, err
	}
	if store.Sum(b) != store.ObjectHash(files[i].Object) {
		return nil, damaged("%s: %w", r.name, &store.OtherBytesError{Object: files[i].Object})
	}
	return b, nil
}

// Bring takes a record, with all that it promises and its log, into the store, as far as it is missing there.
func (r *Remote) Bring(ctx context.Context, rec *store.Record) error {
	s, err := r.record(ctx, recordName(rec.Key, r.store.RecordID(rec)))
	if err != nil {
		return err
	}
	for _, port := range slices.Sorted(maps.Keys(rec.Outputs)) {
		tree := rec.Outputs[port].Hash
		if r.store.Check(tree) == nil {
			continue
		}
		manifest, files, err := r.manifest(ctx, tree)
		if err != nil {
			return err
		}
		if err := r.get(ctx, files); err != nil {
			return err
		}
		if err := r.store.Assemble(tree, manifest); err != nil {
			return fmt.Errorf("%s: trees/%s: %w", r.name, tree, err)
		}
	}
	var log []store.File
	if s.Log != "" {
		if _, log, err = r.manifest(ctx, s.Log); err != nil {
			return err
		}
		if err := r.get(ctx, log); err != nil {
			return err
		}
	}
	return r.store.Adopt(rec, log)
}

// get takes objects into the store.
func (r *Remote) get(ctx context.Context, files []store.File) error {
	var objects []string
	for _, f := range files {
		objects = append(objects, f.Object)
	}
	slices.Sort(objects)
	objects = slices.Compact(objects)
	return each(ctx, len(objects), transfers, func(ctx context.Context, i int) error { return r.getObject(ctx, objects[i]) })
}

func (r *Remote) getObject(ctx context.Context, object string) error {
	if r.store.HasObject(object) {
		return nil
	}
	free, err := r.slot(ctx)
	if err != nil {
		return err
	}
	defer free()
	name := "objects/" + object
	size, err := r.bucket.Size(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("%s: %s is not there, and a record needs it; hone push --again mends it", r.name, name)
	}
	if err != nil {
		return err
	}
	if left := r.store.Free(); left > 0 && size > left {
		return fmt.Errorf("%s: %s has %s, and %s has %s left: %w", r.name, name, store.Size(size), r.store.Dir, store.Size(left), syscall.ENOSPC)
	}
	r.total.Add(size)
	for try := 1; ; try++ {
		var lastly int64 // counted of this try
		err = r.store.Receive(ctx, object, size, func(offset int64) (io.ReadCloser, error) {
			r.moved(int(offset - lastly)) // what is here of it already
			lastly = offset
			body, _, err := r.bucket.Read(ctx, name, offset)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{counted{body, r}, body}, nil
		})
		var other *store.OtherBytesError
		switch {
		case err == nil:
			r.files.Add(1)
			r.tell()
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &other):
			return damaged("%s: %w; hone push --again from a sound store mends it", r.name, other)
		case try == tries, errors.Is(err, syscall.ENOSPC):
			return fmt.Errorf("%s: %s: %w", r.name, name, err)
		}
	}
}
