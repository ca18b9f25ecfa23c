package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/hone-ml/hone/internal/bucket"
)

// server answers for one bucket.
type server struct {
	mux    *http.ServeMux
	bucket *blob.Bucket
	name   string
	err    error // of opening it
}

func newServer(at string) *server {
	s := &server{mux: http.NewServeMux()}
	s.bucket, s.name, s.err = open(context.Background(), at)
	s.mux.HandleFunc("GET /open", s.open)
	s.mux.HandleFunc("GET /size", s.size)
	s.mux.HandleFunc("GET /read", s.read)
	s.mux.HandleFunc("PUT /write", s.write)
	s.mux.HandleFunc("GET /list", s.list)
	return s
}

// open opens SCHEME://BUCKET/PREFIX?PARAMETERS. A server named by endpoint= is one of those that speak S3: it is asked by path, and
// without TLS where its URL says so.
func open(ctx context.Context, at string) (*blob.Bucket, string, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, "", err
	}
	prefix := strings.Trim(u.Path, "/")
	u.Path = ""
	q := u.Query()
	if endpoint := q.Get("endpoint"); endpoint != "" && u.Scheme == "s3" {
		if e, err := url.Parse(endpoint); err != nil || e.Host == "" || e.Scheme != "http" && e.Scheme != "https" {
			return nil, "", fmt.Errorf("endpoint=%s: an endpoint is http://HOST:PORT or https://HOST:PORT", endpoint)
		}
		if !q.Has("use_path_style") && !q.Has("s3ForcePathStyle") {
			q.Set("use_path_style", "true")
		}
		if !q.Has("region") {
			q.Set("region", "us-east-1") // what such servers take, and the client insists on one
		}
	}
	u.RawQuery = q.Encode()
	b, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, "", err
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix+"/")
	}
	return b, u.Host, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.err != nil {
		fail(w, http.StatusBadRequest, bucket.Failure{Error: said(s.err), Usage: true})
		return
	}
	s.mux.ServeHTTP(w, r)
}

// open asks for one object of the bucket, to see that it may.
func (s *server) open(w http.ResponseWriter, r *http.Request) {
	_, err := s.bucket.List(&blob.ListOptions{Prefix: "records/"}).Next(r.Context())
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	if gcerrors.Code(err) == gcerrors.NotFound {
		fail(w, http.StatusBadRequest, bucket.Failure{Error: "no such bucket: " + s.name, Usage: true})
		return
	}
	s.answer(w, err)
}

func (s *server) size(w http.ResponseWriter, r *http.Request) {
	a, err := s.bucket.Attributes(r.Context(), r.FormValue("name"))
	if err != nil {
		s.answer(w, err)
		return
	}
	fmt.Fprint(w, a.Size)
}

func (s *server) read(w http.ResponseWriter, r *http.Request) {
	offset, err := strconv.ParseInt(r.FormValue("offset"), 10, 64)
	if err != nil {
		s.answer(w, err)
		return
	}
	in, err := s.bucket.NewRangeReader(r.Context(), r.FormValue("name"), offset, -1, nil)
	if err != nil {
		s.answer(w, err)
		return
	}
	defer in.Close()
	w.Header().Set("Size", strconv.FormatInt(in.Size(), 10))
	if n := in.Size() - offset; n >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	if _, err := io.Copy(w, in); err != nil {
		panic(http.ErrAbortHandler) // so that what came does not look whole
	}
}

// The part of an upload is held in memory, two of them at once; S3 takes 10,000 parts.
const (
	part  = 8 << 20
	parts = 9000
)

func (s *server) write(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out, err := s.bucket.NewWriter(ctx, r.FormValue("name"), &blob.WriterOptions{
		BufferSize: int(max(part, r.ContentLength/parts)), MaxConcurrency: 2, ContentType: "application/octet-stream",
	})
	if err != nil {
		s.answer(w, err)
		return
	}
	n, err := io.Copy(out, r.Body)
	if err == nil && n != r.ContentLength {
		err = fmt.Errorf("%d bytes instead of %d", n, r.ContentLength)
	}
	if err != nil {
		cancel() // the object must not come to be
	}
	if err = errors.Join(err, out.Close()); err != nil {
		s.answer(w, err)
	}
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	lines := json.NewEncoder(w)
	all := s.bucket.List(&blob.ListOptions{Prefix: r.FormValue("prefix")})
	for began := false; ; began = true {
		o, err := all.Next(r.Context())
		switch {
		case errors.Is(err, io.EOF):
			_ = lines.Encode(bucket.Entry{})
			return
		case err != nil && !began:
			s.answer(w, err)
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if o.Key != "" && lines.Encode(bucket.Entry{Name: o.Key, Size: o.Size}) != nil {
			return
		}
	}
}

// answer says what went wrong.
func (s *server) answer(w http.ResponseWriter, err error) {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		fail(w, http.StatusNotFound, bucket.Failure{Error: said(err)})
	case gcerrors.PermissionDenied:
		fail(w, http.StatusForbidden, bucket.Failure{Error: "not allowed: " + said(err)})
	default:
		fail(w, http.StatusBadGateway, bucket.Failure{Error: said(err)})
	}
}

func fail(w http.ResponseWriter, status int, f bucket.Failure) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f) // whoever asked may have gone
}

// wordy is what the libraries put before a service's own words: the code of an error twice, the whole address of a request.
var wordy = regexp.MustCompile(`^.*\bapi error |^blob |\(code=\w+\): |\b(Get|Put|Post|Head) "[^"]*": |operation error S3: \w+, `)

// said is an error in one line.
func said(err error) string {
	text := wordy.ReplaceAllString(strings.Join(strings.Fields(err.Error()), " "), "")
	if strings.Contains(text, "Invalid region") {
		text += " ?region=… or AWS_REGION names it"
	}
	return text
}
