package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/hone-ml/hone/internal/bucket"
	"github.com/hone-ml/hone/runner"
	"github.com/hone-ml/hone/runner/remote"
	"github.com/hone-ml/hone/runner/store"
)

// remoteHelp is for verbs that name a remote.
const remoteHelp = `URL is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or a folder: file:///DIR or its path. Servers that speak S3 are
s3://BUCKET/PREFIX?endpoint=https://HOST:PORT; region= and profile= stand there too. Credentials come from where the
clients of both clouds look for them: AWS_ACCESS_KEY_ID and the like, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS.`

// places are those besides the store that --remote and --records name, opened once a command.
func (f *flags) places(ctx context.Context, st *store.Store) ([]runner.Elsewhere, error) {
	if f.opened != nil {
		return *f.opened, nil
	}
	var places []runner.Elsewhere
	if f.records != "" {
		file, err := runner.ReadRecords(f.records)
		if err != nil {
			return nil, usage("%w", err)
		}
		places = append(places, file)
	}
	at := f.remote
	if at == "" && f.mayRemote && !f.named("remote") {
		at = os.Getenv("HONE_REMOTE")
	}
	if at != "" {
		r, err := openRemote(ctx, at, st, false)
		if err != nil {
			return nil, err
		}
		r.Warn = func(text string) { fmt.Fprintf(os.Stderr, "warning: %s\n", text) }
		places = append([]runner.Elsewhere{r}, places...) // it has artifacts too
	}
	f.opened = &places
	return places, nil
}

// openRemote opens a remote. A URL that cannot be one is wrong usage.
func openRemote(ctx context.Context, at string, st *store.Store, make bool) (*remote.Remote, error) {
	r, err := remote.Open(ctx, at, st, make)
	var wrong *bucket.URLError
	if errors.As(err, &wrong) {
		return nil, usage("%w", err)
	}
	return r, err
}

// transferBar shows bytes on their way: a line on a terminal, JSON lines each few seconds elsewhere.
type transferBar struct {
	mu   sync.Mutex
	w    io.Writer
	verb string
	live bool
	log  zerolog.Logger
	last time.Time
}

func newTransferBar(w io.Writer, verb string) *transferBar {
	f, ok := w.(*os.File)
	return &transferBar{
		w: w, verb: verb, live: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb",
		log: zerolog.New(w).With().Timestamp().Logger(), last: time.Now(),
	}
}

func (b *transferBar) update(p remote.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch since := time.Since(b.last); {
	case b.live && since > redrawEvery:
		fmt.Fprintf(b.w, "\r%s: %s of %s, %s\x1b[K", b.verb, store.Size(p.Bytes), store.Size(max(p.Bytes, p.Total)), count(int(p.Files), "file"))
	case !b.live && since > progressEvery:
		b.log.Info().Int64("files", p.Files).Int64("bytes", p.Bytes).Int64("total", p.Total).Msg(b.verb)
	default:
		return
	}
	b.last = time.Now()
}

// ended tells of a stage.
func (b *transferBar) ended(stage, status string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live {
		fmt.Fprintf(b.w, "\r\x1b[K%s %s  %s\n", transferMarks[status], stage, status)
	} else {
		b.log.Info().Str("stage", stage).Str("status", status).Msg("ended")
	}
}

func (b *transferBar) close() {
	if b.live {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

// transferMarks are those of how a stage's transfer ended.
var transferMarks = map[string]string{"pushed": "✓", "pulled": "✓", "there": "=", "missing": "-"}
