package provenance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json/jsontext"
	json2 "encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/hone-ml/hone/internal/bounded"
)

// File is where the provenance of an exported folder lies in it.
const File = "provenance.intoto.jsonl"

// fileLimit and lineLimit bound a provenance file and a statement in it, in bytes: some ten thousand stages, a hundred thousand files.
const (
	fileLimit = 64 << 20
	lineLimit = 24 << 20

	objectsLimit = 1 << 20
)

// signaturesLimit bounds those of one statement: each is a computation.
const signaturesLimit = 16

// Problem is what is wrong with a file of a folder.
type Problem struct {
	Path string `json:"path"`
	What string `json:"what"` // missing, changed, not in the provenance, …
}

// Malformed is a provenance file that cannot be believed, whatever the folder holds.
type Malformed struct {
	Path string
	Line int
	Err  error
}

func (e *Malformed) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
}

func (e *Malformed) Unwrap() error { return e.Err }

// ErrUnsigned is that of a check with a key of statements without a signature.
var ErrUnsigned = errors.New("not signed")

// ErrSignature is that of a signature which the key does not verify: nobody can tell which of the two it is.
var ErrSignature = errors.New("the signature does not hold: the statement was changed, or another key signed it")

// Provenance is what a file of statements says, its signatures checked where there was a key.
type Provenance struct {
	Files           []Resource // of the first statement, with their sha256; the others are about what came before
	Pipeline, Stage string     // of the run that made the artifact
	Kind, Key       string
	Signed          bool   // each statement has a signature
	KeyID           string // sha256 of the public key in DER, where there was one
}

// said is what is read of a statement: no more, since it may be somebody's who wants the memory.
type said struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name   string `json:"name"`
		Digest struct {
			SHA256 string `json:"sha256"`
		} `json:"digest"`
	} `json:"subject"`
	PredicateType string `json:"predicateType"`
	Predicate     struct {
		BuildDefinition struct {
			ExternalParameters struct {
				Kind     jsontext.Value `json:"kind"`
				Pipeline jsontext.Value `json:"pipeline"`
				Stage    jsontext.Value `json:"stage"`
			} `json:"externalParameters"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Metadata struct {
				InvocationID string `json:"invocationId"`
			} `json:"metadata"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// ReadProvenance reads a file of statements, plain or in envelopes. With a key every one must have a signature of it. No more
// than 64 MiB are read, names that occur twice in an object are refused, and so are names of files that lead out of the folder.
func ReadProvenance(path string, key dsse.SignerVerifier) (*Provenance, error) {
	b, err := bounded.ReadFile(path, fileLimit)
	if err != nil {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return nil, err
		}
		return nil, &Malformed{Path: path, Err: cleaned(path, err)}
	}
	p := &Provenance{Signed: true}
	n, statements := 0, 0
	for line := range bytes.Lines(b) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		s, signed, err := readLine(line, key)
		if err != nil {
			return nil, &Malformed{path, n, err}
		}
		p.Signed = p.Signed && signed
		p.take(s, statements)
		statements++
	}
	if statements == 0 {
		return nil, &Malformed{Path: path, Err: errors.New("no statement in it")}
	}
	if key != nil {
		p.KeyID, err = keyID(key)
	}
	return p, err
}

// cleaned takes a path away that stands before an error already.
func cleaned(path string, err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), path+": "))
}

// take notes what statement n says: the first one of the files, and of the run that made the artifact, unless that is an export by
// hand, which the run comes after.
func (p *Provenance) take(s *said, n int) {
	if n == 0 {
		for _, f := range s.Subject {
			if f.Digest.SHA256 != "" {
				p.Files = append(p.Files, Resource{Name: f.Name, Digest: map[string]string{"sha256": strings.ToLower(f.Digest.SHA256)}})
			}
		}
	}
	if n == 0 || n == 1 && p.Kind == exportKind {
		of := s.Predicate.BuildDefinition.ExternalParameters
		p.Kind, p.Pipeline, p.Stage = word(of.Kind), word(of.Pipeline), word(of.Stage)
		p.Key = s.Predicate.RunDetails.Metadata.InvocationID
	}
}

// word is a JSON string; "" of anything else, which another builder may have there.
func word(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json2.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// bound refuses a line that would take much memory.
func bound(line []byte) error {
	if len(line) > lineLimit {
		return fmt.Errorf("over %d MiB in a line", lineLimit>>20)
	}
	if bytes.Count(line, []byte("{")) > objectsLimit { // each is many times its two bytes
		return fmt.Errorf("over %d objects in a line", objectsLimit)
	}
	return nil
}

func readLine(line []byte, key dsse.SignerVerifier) (*said, bool, error) {
	var e dsse.Envelope
	if err := bound(line); err != nil {
		return nil, false, err
	}
	if err := json2.Unmarshal(line, &e); err != nil {
		return nil, false, errors.New("not JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	signed := len(e.Signatures) > 0
	if e.Payload != "" || signed {
		if e.PayloadType != PayloadType {
			return nil, false, fmt.Errorf("an envelope of %q, not of %s", e.PayloadType, PayloadType)
		}
		payload, err := base64.StdEncoding.DecodeString(e.Payload)
		if err != nil {
			return nil, false, errors.New("the payload is not base64")
		}
		line = payload
	}
	if len(e.Signatures) > signaturesLimit {
		return nil, false, fmt.Errorf("more than %d signatures", signaturesLimit)
	}
	if key != nil {
		if !signed {
			return nil, false, ErrUnsigned
		}
		for i := range e.Signatures {
			e.Signatures[i].KeyID = "" // a hint that tools make in different ways: the key decides
		}
		verifier, err := dsse.NewEnvelopeVerifier(key)
		if err != nil {
			return nil, false, err
		}
		_, verified, err := verifier.VerifyAndDecode(context.Background(), &e)
		if err != nil {
			return nil, false, ErrSignature
		}
		line = verified
	}
	var s said
	if err := bound(line); err != nil {
		return nil, false, err
	}
	if err := json2.Unmarshal(line, &s); err != nil {
		return nil, false, errors.New("not a statement: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	return &s, signed, s.valid()
}

// valid refuses what is no statement of provenance, and names that are not of a file below a folder.
func (s *said) valid() error {
	if s.Type != StatementType {
		return fmt.Errorf("_type %q: not an in-toto statement v1", s.Type)
	}
	if s.PredicateType != PredicateType {
		return fmt.Errorf("predicateType %q: not SLSA provenance v1", s.PredicateType)
	}
	if len(s.Subject) == 0 {
		return errors.New("no subject")
	}
	names := map[string]bool{}
	for _, f := range s.Subject {
		if f.Digest.SHA256 == "" {
			continue // an artifact, by its tree
		}
		if names[f.Name] {
			return fmt.Errorf("subject %q twice", f.Name)
		}
		names[f.Name] = true
		if f.Name == "" || !filepath.IsLocal(f.Name) || filepath.ToSlash(filepath.Clean(f.Name)) != f.Name || strings.ContainsAny(f.Name, "\\\x00") {
			return fmt.Errorf("subject %q: not a path inside a folder", f.Name)
		}
		if b, err := hex.DecodeString(f.Digest.SHA256); err != nil || len(b) != 32 {
			return fmt.Errorf("subject %q: not a sha256", f.Name)
		}
	}
	return nil
}

// Check holds a folder against its provenance and tells all that is not as it says, sorted by path. No path that the
// provenance names is opened: the folder is walked, and what is found is looked up. skip names a file that is not looked at,
// since it is the provenance itself.
func (p *Provenance) Check(ctx context.Context, dir, skip string, progress func(done, total int64)) ([]Problem, error) {
	found, problems, err := Files(ctx, dir, func(path string) bool { return path == skip || hubs(path) }, progress)
	if err != nil {
		return nil, err
	}
	told := map[string]bool{}
	for _, problem := range problems {
		told[problem.Path] = true
	}
	have := map[string]string{}
	for _, f := range found {
		have[f.Name] = f.Digest["sha256"]
	}
	moved := map[string]string{} // sha256 → where the bytes of a missing file are
	want := map[string]bool{}
	for _, f := range p.Files {
		want[f.Name] = true
	}
	for _, f := range found {
		if !want[f.Name] {
			moved[f.Digest["sha256"]] = f.Name
		}
	}
	for _, f := range p.Files {
		sum, ok := have[f.Name]
		switch {
		case told[f.Name]:
		case !ok && moved[f.Digest["sha256"]] != "":
			problems = append(problems, Problem{f.Name, "missing; its bytes are in " + moved[f.Digest["sha256"]]})
		case !ok:
			problems = append(problems, Problem{f.Name, "missing"})
		case sum != f.Digest["sha256"]:
			problems = append(problems, Problem{f.Name, "changed"})
		}
	}
	for _, f := range found {
		if !want[f.Name] {
			problems = append(problems, Problem{f.Name, "not in the provenance"})
		}
	}
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.What, b.What))
	})
	return problems, nil
}

// hubs says of a path that git and the hub's client put it there: no loader of models reads it.
func hubs(path string) bool {
	return path == ".git" || path == ".gitattributes" || path == ".cache/huggingface"
}
