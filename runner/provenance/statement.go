package provenance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hone-ml/hone/runner/store"
)

// The types that statements name. docs/provenance.md, to which the last two lead, says what stands in them.
const (
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://slsa.dev/provenance/v1"
	BuildType     = "https://github.com/hone-ml/hone/blob/main/docs/provenance.md#build-type-v1"
	BuilderID     = "https://github.com/hone-ml/hone/blob/main/docs/provenance.md#builder"
)

// TreeDigest names the digest of an artifact: the BLAKE3-256 of its manifest, as docs/store.md has it.
const TreeDigest = "honeTree"

// Statement is an in-toto Statement v1 with a SLSA provenance v1 predicate, field by field as
// https://in-toto.io/Statement/v1 and https://slsa.dev/spec/v1.2/build-provenance have them. They are written out here since
// the protobuf types of in-toto's own library print JSON whose bytes are not the same twice, which a signature needs.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource is an in-toto ResourceDescriptor.
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

// Predicate is SLSA's provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what was asked for and what it was made of.
type BuildDefinition struct {
	BuildType            string         `json:"buildType"`
	ExternalParameters   map[string]any `json:"externalParameters"`
	InternalParameters   map[string]any `json:"internalParameters,omitempty"`
	ResolvedDependencies []Resource     `json:"resolvedDependencies,omitempty"`
}

// RunDetails is who made it, and when.
type RunDetails struct {
	Builder    Builder    `json:"builder"`
	Metadata   Metadata   `json:"metadata"`
	Byproducts []Resource `json:"byproducts,omitempty"`
}

// Builder is hone, of that version.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version"`
}

// Metadata is of one run.
type Metadata struct {
	InvocationID string    `json:"invocationId"`
	StartedOn    time.Time `json:"startedOn"`
	FinishedOn   time.Time `json:"finishedOn"`
}

// exportKind is the kind of a statement about what the verb export wrote; no stage has it.
const exportKind = "hone export"

// Exported is a folder that was written from an artifact.
type Exported struct {
	Files      []Resource     // with their sha256
	Parameters map[string]any // format, type
	Started    time.Time
	Finished   time.Time
	Version    string // of hone
}

// Add puts one more file among those that were exported, in their order.
func (e *Exported) Add(name string, content []byte) {
	sum := sha256.Sum256(content)
	e.Files = append(e.Files, Resource{Name: name, Digest: map[string]string{"sha256": hex.EncodeToString(sum[:])}})
	slices.SortFunc(e.Files, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
}

// Statements is the provenance of an artifact: of the folder that it was exported to, where there is one, else of files,
// those of the artifact itself; then of each run that it goes back to. The first one lists all sources of all of them.
func (l *Lineage) Statements(files []Resource, e *Exported) []Statement {
	var all []Statement
	if e != nil {
		all = append(all, l.exported(e))
	}
	for _, run := range l.Runs {
		s := run.statement(run.Outputs)
		if run == l.Made {
			s = run.statement(l.Hashes())
			s.Subject = append(files, s.Subject...)
		}
		all = append(all, s)
	}
	first := &all[0].Predicate.BuildDefinition
	seen := map[string]bool{}
	for _, r := range first.ResolvedDependencies {
		seen[keyOf(r)] = true
	}
	for _, s := range sources(l.Runs) {
		if r := s.resource(); !seen[keyOf(r)] {
			first.ResolvedDependencies = append(first.ResolvedDependencies, r)
		}
	}
	return all
}

func keyOf(r Resource) string {
	b, _ := json.Marshal(r.Digest) // sorted, of strings
	return r.Name + r.URI + string(b)
}

// exported is the statement of a folder: what it was written from is the one artifact, or an adapter and its base.
func (l *Lineage) exported(e *Exported) Statement {
	var read []Resource
	for _, port := range slices.Sorted(maps.Keys(l.Hashes())) {
		read = append(read, artifact(l.Made.Stage+"."+port, l.Hashes()[port]))
	}
	parameters := map[string]any{"kind": exportKind}
	maps.Copy(parameters, e.Parameters)
	return statement(e.Files, parameters, nil, read, RunDetails{
		Builder: Builder{BuilderID, map[string]string{"hone": e.Version}},
		Metadata: Metadata{
			InvocationID: l.Made.Key, StartedOn: e.Started.UTC().Truncate(time.Second), FinishedOn: e.Finished.UTC().Truncate(time.Second),
		},
	})
}

// statement is what a record says of its own run.
func (r *Run) statement(outputs map[string]store.Output) Statement {
	var made, read []Resource
	for _, port := range slices.Sorted(maps.Keys(outputs)) {
		made = append(made, artifact(r.Stage+"."+port, outputs[port]))
	}
	for _, in := range r.Inputs {
		from := artifact("", store.Output{Hash: in.Hash})
		if in.Run != nil {
			from = artifact(in.Run.Stage+"."+in.Port, in.Run.Outputs[in.Port])
		}
		from.Annotations["field"] = in.Field
		read = append(read, from)
	}
	for _, s := range r.Sources {
		source := s.resource()
		source.Annotations["field"] = s.Field
		read = append(read, source)
	}
	config := map[string]json.RawMessage{}
	for _, s := range r.Settings() {
		config[s.Field] = s.Value
	}
	internal := map[string]any{"implementation": r.implementation()}
	if r.Numerics != nil {
		internal["numerics"] = r.Numerics
	}
	if r.Resumed {
		internal["resumed"] = true
	}
	versions := map[string]string{"hone": r.Version}
	if r.Numerics != nil && r.Numerics.Libtorch != "" {
		versions["libtorch"] = r.Numerics.Libtorch
	}
	var byproducts []Resource
	if len(r.Metrics) > 0 {
		byproducts = []Resource{{Name: "metrics", Annotations: map[string]any{"metrics": r.Metrics}}}
	}
	return statement(made,
		map[string]any{"kind": r.Kind, "pipeline": r.Pipeline, "stage": r.Stage, "config": config},
		internal, read, RunDetails{
			Builder:    Builder{BuilderID, versions},
			Metadata:   Metadata{r.Key, r.Started, r.Started.Add(time.Duration(r.Seconds * float64(time.Second)))},
			Byproducts: byproducts,
		})
}

func statement(made []Resource, external, internal map[string]any, read []Resource, details RunDetails) Statement {
	return Statement{StatementType, made, PredicateType, Predicate{BuildDefinition{BuildType, external, internal, read}, details}}
}

// implementation is the version of the kind that ran.
func (r *Run) implementation() json.RawMessage {
	for _, in := range r.Ingredients {
		if in.From == "stage" && in.Field == "implementation" {
			return in.Value
		}
	}
	return json.RawMessage("null")
}

func artifact(name string, out store.Output) Resource {
	r := Resource{Name: name, Digest: map[string]string{TreeDigest: out.Hash}, Annotations: map[string]any{}}
	if out.Kind != "" {
		r.Annotations["kind"] = out.Kind
	}
	return r
}

// resource is a source: on the hub with its commit, elsewhere by its bytes.
func (s Source) resource() Resource {
	r := Resource{Name: s.Name, Annotations: map[string]any{}}
	switch {
	case s.At == "" && strings.HasSuffix(s.Name, "/"):
		r.Digest = map[string]string{TreeDigest: s.Hash}
		return r
	case s.At == "":
		r.Digest = map[string]string{"blake3": s.Hash}
		return r
	}
	r.Digest = map[string]string{"gitCommit": s.At}
	if s.Repo != "" {
		r.URI = "https://huggingface.co/" + s.Repo + "/tree/" + s.At
	}
	return r
}

// Lines is statements as JSON, a line each, which is in-toto's bundle.
func Lines(all []Statement) ([][]byte, error) {
	lines := make([][]byte, len(all))
	for i, s := range all {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			return nil, err
		}
		lines[i] = bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
	return lines, nil
}
